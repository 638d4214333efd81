"""Traces hold ids, counts and durations, however somebody tries to make them hold more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, Status, StatusCode

from serving.engine.client import EngineClient
from serving.errors import StartupError
from serving.gateway import app as app_module
from serving.gateway.app import create_app
from serving.trace_fields import OnlyKnown
from serving.tracing import Traces, opaque, open_traces, traces_to
from tests.collector import collector
from tests.gateway.fakes import Files, Ledger, Limiter, Search, runtime
from tests.signing import signer_for_tests
from tests.stub_engine import StubEngine

CANARY = "canary7f3a"
KEY = b"k" * 32
RESOURCE = Resource({"service.name": "bulkhead"})
HEADERS = {
    "Authorization": "Bearer key-f",
    "User-Agent": CANARY,
    "traceparent": f"00-{'1' * 32}-{'2' * 16}-01",
    "tracestate": f"vendor={CANARY}",
    "baggage": f"user={CANARY}",
}


async def _used(folder: Path, traces: Traces) -> None:
    """Every kind of request, each with a canary wherever one can be, some of which break."""
    stub, search = StubEngine(), Search(title=CANARY)
    stub.reply = f"{CANARY} <EMAIL_1>"
    async with stub.serving() as url:
        engine = EngineClient(url, model="m", api_key="k", signer=signer_for_tests())
        files = Files(folder)
        parts = runtime(engine, search=search, limiter=Limiter(), ledger=Ledger(), files=files)
        transport = httpx.ASGITransport(
            create_app(replace(parts, traces=traces)), raise_app_exceptions=False
        )
        async with httpx.AsyncClient(transport=transport, base_url="http://g") as client:
            await _asked(client, search)
        await engine.close()
        files.parsers.close()
    await traces.close()


async def _asked(client: httpx.AsyncClient, search: Search) -> None:
    question = f"How long may I return? {CANARY} ada@example.com"
    chat = {"model": "base", "messages": [{"role": "user", "content": question}]}
    path = "/v1/chat/completions"
    for body in (chat, chat | {"stream": True}, chat | {"model": CANARY}, {CANARY: 1}):
        await client.post(path, json=body, headers=HEADERS)
    await client.post(path, json=chat, headers=HEADERS | {"Authorization": f"Bearer {CANARY}"})
    document = {"id": CANARY, "title": CANARY, "text": CANARY}
    await client.post("/v1/documents", json=document, headers=HEADERS)
    await client.get(f"/v1/documents/{CANARY}?q={CANARY}", headers=HEADERS)
    await client.get(f"/{CANARY}", headers=HEADERS)
    # A fault inside the platform whose text quotes the question.
    search.similarities = _Breaks()  # type: ignore[assignment]
    answer = await client.post(path, json=chat, headers=HEADERS)
    assert answer.status_code == 500


class _Breaks:
    def get(self, owner: str, default: float) -> float:
        raise ValueError(f"{CANARY} ada@example.com")


def _everything(spans: tuple[ReadableSpan, ...]) -> str:
    return " ".join(span.to_json() for span in spans)


async def test_what_is_exported_holds_what_happened_and_no_content(tmp_path: Path) -> None:
    memory = InMemorySpanExporter()
    processor = SimpleSpanProcessor(OnlyKnown(memory, RESOURCE))
    await _used(tmp_path, traces_to(processor, RESOURCE, KEY, takes_context=False))
    spans = memory.get_finished_spans()
    said = _everything(spans)
    assert [word for word in (CANARY, "ada@", "key-f", "fjellvik", "30 days") if word in said] == []
    # The controls: it was told what happened, step by step.
    assert {span.name for span in spans} == {"request", "retrieval", "masking", "queue", "engine"}
    requests = [dict(span.attributes or {}) for span in spans if span.name == "request"]
    assert {each["http.response.status_code"] for each in requests} == {200, 400, 401, 404, 500}
    assert {each.get("bulkhead.tenant") for each in requests} == {None, opaque("fjellvik", KEY)}
    assert opaque("fjellvik", KEY) != opaque("voltbay", KEY)
    (engine, *_) = [dict(span.attributes or {}) for span in spans if span.name == "engine"]
    assert engine["bulkhead.prompt_tokens"] == 50
    errors = {(s.attributes or {}).get("error.type") for s in spans if s.name == "retrieval"}
    assert errors == {None, "ValueError"}
    # No caller decides in which trace it is.
    assert {f"{s.context.trace_id:032x}" for s in spans if s.context} & {"1" * 32} == set()


async def test_nothing_that_is_sent_to_a_collector_holds_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collector() as server:
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        traces = open_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": url}, KEY, takes_context=True)
        await _used(tmp_path, traces)
        sent = b"".join(server.received)
    for word in (CANARY, "ada@", "key-f", "fjellvik", "30 days"):
        assert word.encode() not in sent
    for word in ("retrieval", "engine", "/v1/documents/{document_id:path}", "ValueError"):
        assert word.encode() in sent
    # As the operator chose: the caller's trace goes on here, without what else it carries.
    assert bytes.fromhex("1" * 32) in sent


def _gossip(traces: Traces) -> None:
    """A program that says everything it knows in every way a span has."""
    trace = traces.request({})
    trace._span.update_name(CANARY)
    trace._span.set_attribute("prompt", CANARY)
    trace._span.set_attribute("http.route", f"/v1/{CANARY} {CANARY}")
    trace._span.set_attribute("bulkhead.passages", CANARY)
    trace._span.set_attribute(CANARY, 1)
    trace._span.add_event(CANARY, {"text": CANARY})
    trace._span.record_exception(ValueError(CANARY))
    trace._span.set_status(Status(StatusCode.ERROR, CANARY))
    link = Link(trace._span.get_span_context(), {"text": CANARY})
    trace._tracer.start_span(CANARY, links=[link]).end()
    trace.answered(CANARY, f"/v1/documents/{CANARY}?q=1", 500, CANARY)


def test_a_program_that_tells_everything_is_not_exported_and_a_twin_without_the_list_is() -> None:
    found = []
    for guarded in (True, False):
        memory = InMemorySpanExporter()
        exporter = OnlyKnown(memory, RESOURCE) if guarded else memory
        _gossip(traces_to(SimpleSpanProcessor(exporter), RESOURCE, KEY, takes_context=False))
        spans = memory.get_finished_spans()
        assert len(spans) == 2
        found.append(_everything(spans).count(CANARY))
    assert found[0] == 0
    assert found[1] >= 10


async def test_fastapis_own_telemetry_is_off_and_a_twin_where_it_is_on_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for silent in (True, False):
        memory = InMemorySpanExporter()
        traces = traces_to(SimpleSpanProcessor(memory), RESOURCE, KEY, takes_context=False)
        if not silent:
            monkeypatch.setitem(app_module._SILENT, "tracer_provider", traces._provider)
            for part in ("tracing", "operation_spans"):
                monkeypatch.setitem(app_module._SILENT, part, True)
        await _used(tmp_path, traces)
        said.append(_everything(memory.get_finished_spans()))
    assert CANARY not in said[0]
    assert CANARY in said[1]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_a_collector_nothing_is_recorded(environment: dict[str, str]) -> None:
    trace = open_traces(environment, KEY, takes_context=True).request(HEADERS)
    assert trace.id is None


def test_a_protocol_that_is_not_spoken_is_refused_at_start() -> None:
    wanted = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(StartupError):
        open_traces(wanted, KEY, takes_context=False)
