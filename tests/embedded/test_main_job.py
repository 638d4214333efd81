"""Two merchants on one engine: each gets its own facts, and nothing of the other."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from rag.filters import Between, Equals, Not
from rag.prompt import SYSTEM_TEXT
from rag.sdk import TenantClient
from serving.engine.tokens import TokenizerCounter
from tests.embedded.conftest import MERCHANTS, Gateway

pytestmark = pytest.mark.engine

OTHER = {"fjellvik": "voltbay", "voltbay": "fjellvik"}


def _questions(tenant: str) -> list[dict[str, str]]:
    content: list[dict[str, str]] = json.loads((MERCHANTS / tenant / "questions.json").read_text())
    return content


def _canaries(tenant: str) -> list[str]:
    return list(json.loads((MERCHANTS / tenant / "canaries.json").read_text()).values())


def _whole(client: openai.OpenAI, question: str) -> tuple[str, list[dict[str, Any]]]:
    answer = client.chat.completions.create(
        model="base", messages=[{"role": "user", "content": question}], max_tokens=4
    )
    return answer.choices[0].message.content or "", answer.model_extra["citations"]  # type: ignore[index]


def _streamed(client: openai.OpenAI, question: str) -> tuple[str, list[dict[str, Any]]]:
    stream = client.chat.completions.create(
        model="base",
        messages=[{"role": "user", "content": question}],
        max_tokens=4,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    citations = [chunk.model_extra["citations"] for chunk in chunks if chunk.model_extra]  # type: ignore[index]
    assert len(citations) == 1
    assert chunks[-1].usage is not None
    text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
    return text, citations[0]


@pytest.mark.parametrize("tenant", ["fjellvik", "voltbay"])
@pytest.mark.parametrize("ask", [_whole, _streamed], ids=["whole", "streamed"])
def test_ten_questions_are_answered_from_the_right_passages_of_the_right_merchant(
    gateway: Gateway, tenant: str, ask: Any
) -> None:
    right = 0
    for question in _questions(tenant):
        answer, citations = ask(gateway.client(tenant), question["question"])
        quotes = " ".join(citation["quote"] for citation in citations)
        right += question["fact"] in quotes
        assert question["foreign_fact"] not in quotes
        assert not any(canary in quotes + answer for canary in _canaries(OTHER[tenant]))
    assert right >= 9


def _usage(gateway: Gateway, tenant: str, turns: list[str]) -> tuple[int, str]:
    roles = ("user", "assistant")
    messages = [{"role": roles[index % 2], "content": text} for index, text in enumerate(turns)]
    answer = gateway.client(tenant).chat.completions.create(
        model="base",
        messages=messages,  # type: ignore[arg-type]
        max_tokens=4,
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    cached = answer.usage.prompt_tokens_details.cached_tokens or 0
    return cached, answer.choices[0].message.content or ""


def test_a_second_turn_hits_the_prefix_of_its_own_tenant_and_never_of_the_other(
    gateway: Gateway, tiny_model: Any
) -> None:
    counter = TokenizerCounter(tiny_model)
    system = counter.count_messages([{"role": "system", "content": SYSTEM_TEXT}])
    question = f"My order {secrets.token_hex(8)} has not come. " * 8 + "What can I do?"
    _, answer = _usage(gateway, "fjellvik", [question])
    second, _ = _usage(gateway, "fjellvik", [question, answer or "-", "And if it is lost?"])
    assert second > system + 50
    # The other merchant may hit its own system prompt, and no word beyond it.
    foreign, _ = _usage(gateway, "voltbay", [question, answer or "-", "And if it is lost?"])
    assert foreign <= system


def test_personal_data_is_masked_for_the_engine_and_restored_for_the_caller(
    gateway: Gateway,
) -> None:
    # Whatever the model says, the request is answered, and the log test looks for the address.
    text = "I am Maria Lopez, maria.canary@example.com. Where is my refund?"
    _, answer = _usage(gateway, "fjellvik", [text])
    assert "<EMAIL_ADDRESS_1>" not in answer


def test_the_openai_client_sees_stable_refusals(gateway: Gateway) -> None:
    client = gateway.client("fjellvik")
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model="base",
            messages=[{"role": "user", "content": "Hi"}],
            extra_body={"cache_salt": "x"},
        )
    assert refused.value.code == "parameter_not_allowed"
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(
            model="base:adapter", messages=[{"role": "user", "content": "Hi"}]
        )
    assert missing.value.code == "model_not_found"


def test_search_embeddings_models_and_usage_answer(gateway: Gateway) -> None:
    client = gateway.client("voltbay")
    assert client.models.list().data[0].id == "base"
    vectors = client.embeddings.create(model="all-MiniLM-L6-v2", input=["a", "b"]).data
    assert [len(vector.embedding) for vector in vectors] == [384, 384]
    # One text, longer than a list may be.
    one = client.embeddings.create(model="all-MiniLM-L6-v2", input="Returns are free. " * 500)
    assert [len(vector.embedding) for vector in one.data] == [384]
    assert one.usage.prompt_tokens == pytest.approx(2_000, abs=5)
    headers = {"Authorization": f"Bearer {gateway.key('voltbay')}"}
    body = {"query": "return policy", "top_k": 2}
    found = httpx.post(f"{gateway.url}/v1/search", json=body, headers=headers).json()
    assert len(found["data"]) == 2
    usage = httpx.get(f"{gateway.url}/v1/usage", headers=headers).json()
    assert usage["object"] == "usage"


def test_the_operators_routes_are_the_operators(gateway: Gateway) -> None:
    for path in ("/admin/v1/tenants", "/admin/v1/usage", "/metrics"):
        tenant = httpx.get(
            gateway.url + path, headers={"Authorization": f"Bearer {gateway.key('fjellvik')}"}
        )
        assert tenant.status_code == 401
        operator = httpx.get(
            gateway.url + path, headers={"Authorization": f"Bearer {gateway.demo['admin_key']}"}
        )
        assert operator.status_code == 200
    assert "fjellvik" not in operator.text  # metrics name no tenant
    for waiting in ("queue", "masking"):
        assert f"bulkhead_{waiting}_waiting 0.0" in operator.text


def test_admin_errors_are_problems(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {gateway.demo['admin_key']}"}
    body = {"id": "fjellvik", "tier": "business"}
    conflict = httpx.post(f"{gateway.url}/admin/v1/tenants", json=body, headers=headers)
    assert conflict.status_code == 409
    assert conflict.headers["content-type"] == "application/problem+json"
    for wrong in ({"id": "Not Valid"}, {"id": "x", "tier": "gold"}, {"id": "platform-probe"}):
        answer = httpx.post(f"{gateway.url}/admin/v1/tenants", json=wrong, headers=headers)
        assert answer.status_code in (400, 409), answer.text


def _written(gateway: Gateway) -> Iterator[tuple[str, bytes]]:
    for path in (*(gateway.data / "logs").iterdir(), gateway.output):
        yield path.name, path.read_bytes()
    yield "traces", _traced(gateway, b"/v1/search")


def _traced(gateway: Gateway, until: bytes) -> bytes:
    """What the collector was sent."""
    assert gateway.collector is not None
    for _ in range(300):
        sent = b"".join(gateway.collector.received)
        if until in sent:
            return sent
        time.sleep(0.1)
    pytest.fail("no such trace")


def test_nothing_of_a_prompt_a_document_or_a_key_is_in_any_log_or_trace(gateway: Gateway) -> None:
    canary = f"canary{secrets.token_hex(8)}"
    client = gateway.client("fjellvik")
    headers = {"Authorization": f"Bearer {gateway.key('fjellvik')}"}
    client.chat.completions.create(
        model="base", messages=[{"role": "user", "content": f"What is {canary}?"}], max_tokens=2
    )
    for body in ({"model": canary, "messages": []}, {canary: 1}, [canary]):
        httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers)
    httpx.post(f"{gateway.url}/v1/search", json={"query": canary}, headers=headers)
    document = {"id": f"{canary}.md", "title": canary, "text": f"# {canary}\n\nText {canary}."}
    httpx.post(f"{gateway.url}/v1/documents", json=document, headers=headers)
    httpx.get(f"{gateway.url}/v1/documents/{canary}.md", headers=headers)
    httpx.delete(f"{gateway.url}/v1/documents/{canary}.md", headers=headers)
    httpx.get(f"{gateway.url}/{canary}?q={canary}", headers={"Authorization": f"Bearer {canary}"})
    secret_texts = [canary, "maria.canary@example.com", *_canaries("fjellvik")[:5]]
    secret_texts += [gateway.demo["admin_key"], gateway.key("fjellvik"), gateway.key("voltbay")]
    logs = dict(_written(gateway))
    assert {"gateway.log", "engine.log", "valkey.log", "output.txt", "traces"} <= set(logs)
    assert b'"route":"/v1/search"' in logs["gateway.log"]  # the positive control
    assert b"fjellvik" not in logs["traces"]
    for name, content in logs.items():
        for text in secret_texts:
            assert text.encode() not in content, name


def test_secrets_on_disk_are_the_owners_alone(gateway: Gateway) -> None:
    private = ["demo.json", "bulkhead.db", "keys/admin.key", "keys/master.key", "run/gateway.sock"]
    for name in private:
        assert (gateway.data / name).stat().st_mode & 0o077 == 0, name
    assert gateway.data.stat().st_mode & 0o077 == 0


def test_the_terminal_shows_what_goes_on_and_nothing_else(gateway: Gateway) -> None:
    lines = gateway.output.read_text().splitlines()
    known = ("engine:", "model:", "gateway:", "demo:", "ready:")
    assert [line for line in lines if not line.startswith(known)] == []
    assert any(line.startswith("ready: http://") for line in lines)


def test_a_filter_chooses_among_the_tenants_own_documents(gateway: Gateway) -> None:
    clients = {name: TenantClient(gateway.url, gateway.key(name)) for name in OTHER}
    topic = f"topic{secrets.token_hex(4)}"
    ids = ("nb.md", "en.md")
    for name, client in clients.items():
        for document_id, language in zip(ids, ("nb", "en"), strict=True):
            text = f"The {topic} of {name} in {language}."
            client.put(document_id, text, metadata={"lang": language, "year": 2026})
    try:
        for name, client in clients.items():
            for where in (Equals("lang", "nb"), Not(Equals("lang", "en"))):
                texts = str([found.text for found in client.search(topic, limit=50, where=where)])
                assert f"{topic} of {name} in nb" in texts
                assert f"{topic} of {name} in en" not in texts
                assert f"{topic} of {OTHER[name]}" not in texts
            assert client.search(topic, where=Between("year", at_most=2025)) == []
    finally:
        for client in clients.values():
            for document_id in ids:
                client.delete(document_id)
            client.close()
    headers = {"Authorization": f"Bearer {gateway.key('fjellvik')}"}
    body = {"query": topic, "filter": {"must": []}}
    refused = httpx.post(f"{gateway.url}/v1/search", json=body, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_filter")
