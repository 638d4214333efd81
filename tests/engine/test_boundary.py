"""The engine's boundary, attacked on SGLang itself by somebody who has the engine's key."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import orjson
import pytest

from isolation.testing.contexts import operator_for_tests
from serving.engine.client import EngineClient
from serving.engine.local import LocalEngine
from serving.engine_plugin.claims import CHAT_ROUTE, TENANT, WORKER
from serving.engine_plugin.identity import OWN_NAMESPACE
from serving.engine_plugin.trust import trust_document
from tests.engine.wire import CONTROLS, Wire, code, new_namespace, stranger
from tests.signing import signer_for_tests

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def wire(engine: EngineClient) -> Wire:
    return Wire(engine)


async def test_a_proven_request_is_answered(wire: Wire) -> None:
    status, answer = await wire.chat(wire.body())
    assert (status, answer["usage"]["completion_tokens"]) == (200, 2)


async def test_a_request_without_a_proof_is_refused(wire: Wire) -> None:
    status, answer = await wire.send(CHAT_ROUTE, orjson.dumps(wire.body()))
    assert (status, code(answer)) == (403, "proof_missing")


async def test_a_proof_of_a_strangers_key_is_refused(engine: EngineClient) -> None:
    wire = Wire(engine, seed=b"\x07" * 32)
    status, answer = await wire.chat(wire.body())
    assert (status, code(answer)) == (403, "proof_forged")


async def test_a_proof_that_was_changed_is_refused(wire: Wire) -> None:
    body = orjson.dumps(wire.body())
    version, key, claims, signature = wire.signed(wire.claims(body)).split(".")
    _, _, others, _ = wire.signed(wire.claims(body, namespace=new_namespace())).split(".")
    status, answer = await wire.chat(body, ".".join((version, key, others, signature)))
    assert (status, code(answer)) == (403, "proof_forged")
    assert claims != others


async def test_a_proof_is_good_once(wire: Wire) -> None:
    body = orjson.dumps(wire.body())
    proof = wire.signed(wire.claims(body))
    assert (await wire.chat(body, proof))[0] == 200
    status, answer = await wire.chat(body, proof)
    assert (status, code(answer)) == (403, "proof_replayed")


@pytest.mark.parametrize("seconds", [-1.0, 3600.0])
async def test_a_proof_that_expired_or_never_would_is_refused(wire: Wire, seconds: float) -> None:
    status, answer = await wire.chat(wire.body(), expires=time.time() + seconds)
    assert (status, code(answer)) == (403, "proof_expired")


async def test_a_proof_for_another_engine_is_refused(wire: Wire) -> None:
    status, answer = await wire.chat(wire.body(), worker=secrets.token_hex(16))
    assert (status, code(answer)) == (403, "proof_of_another_engine")


@pytest.mark.parametrize(
    "changes",
    [
        {"namespace": "f" * 64},
        {"request_id": "0" * 32},
        {"adapter": "voltbay-tone"},
        {"priority": 9},
        {"body": "0" * 64},
        {"route": "POST /v1/completions"},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_a_proof_that_says_something_else_is_refused(
    wire: Wire, changes: dict[str, Any]
) -> None:
    status, answer = await wire.chat(wire.body(), **changes)
    assert (status, code(answer)) == (403, "proof_inconsistent")


async def test_a_gateways_key_cannot_speak_for_the_engine_itself(wire: Wire) -> None:
    body = wire.body(cache_salt=OWN_NAMESPACE)
    assert code((await wire.chat(body, role=WORKER))[1]) == "proof_forged"
    status, answer = await wire.chat(body)  # as a tenant: the scheduler's line refuses it
    assert status != 200
    assert "proof_inconsistent" in orjson.dumps(answer).decode()


@pytest.mark.parametrize(
    "more",
    [
        {"extra_key": "x"},
        {"session_id": "x"},
        {"session_params": {"id": "x"}},
        {"data_parallel_rank": 0},
        {"input_ids": [1, 2]},
        {"custom_logit_processor": "x"},
        {"return_hidden_states": True},
        {"return_prompt_token_ids": True},
        {"n": 2},
        {"rid": ["0" * 32, "1" * 32]},
        {"cache_salt": ["0" * 64]},
        {"lora_path": "voltbay-tone"},
        {"model": "base:voltbay-tone"},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "f"}]}]},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_a_signed_body_with_another_control_in_it_is_still_refused(
    wire: Wire, more: dict[str, Any]
) -> None:
    body = wire.body()
    status, answer = await wire.chat(
        orjson.dumps(body | more), request_id=body["rid"], namespace=body["cache_salt"]
    )
    assert (status, code(answer)) in [(403, "body_refused"), (403, "proof_inconsistent")]


async def test_a_control_in_a_header_is_not_heard(changed_engine: EngineClient) -> None:
    """Each would be an error, another id, or tokens in the answer; `test_stock_twin` shows them."""
    wire = Wire(changed_engine)
    body = orjson.dumps(wire.body())
    proof = wire.signed(wire.claims(body))
    status, answer = await wire.send(CHAT_ROUTE, body, proof, **CONTROLS)
    assert status == 200
    assert answer["id"] == orjson.loads(body)["rid"]
    assert not {"input_ids", "output_ids"} & _keys(answer)


def _keys(value: Any) -> set[str]:
    """All names in an answer, at any depth."""
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()


async def test_a_genuine_proof_of_no_namespace_is_refused(wire: Wire) -> None:
    status, answer = await wire.chat(wire.body(cache_salt=""))
    assert status != 200
    assert "proof_inconsistent" in orjson.dumps(answer).decode()


async def test_a_key_that_stands_twice_in_a_body_is_refused(wire: Wire) -> None:
    body = orjson.dumps(wire.body())
    twice = body[:-1] + b',"cache_salt":"' + b"0" * 64 + b'"}'
    claims = wire.claims(body)
    for namespace in (claims.namespace, "0" * 64):
        status, answer = await wire.chat(twice, namespace=namespace, request_id=claims.request_id)
        assert (status, code(answer)) == (403, "body_refused")


async def test_every_other_route_is_denied_to_a_caller_with_the_engines_key(wire: Wire) -> None:
    status, api = await wire.open("GET /openapi.json")  # the operator sees them
    assert status == 200
    routes = [
        f"{method.upper()} {path}"
        for path, methods in api["paths"].items()
        for method in methods
        if path not in ("/health", "/health_generate", "/ready")
    ]
    assert len(routes) > 60
    denied = {"/flush_cache", "/load_lora_adapter", "/abort_request", "/server_info", "/generate"}
    assert denied <= {route.split(" ")[1] for route in routes}
    for route in routes:
        status, answer = await wire.send(route, b"{}")
        assert (route, status) == (route, 403)
        assert route.startswith("HEAD") or code(answer) in ("proof_missing", "Forbidden")
        claims = wire.claims(b"{}", role=TENANT, route=route)
        if route != CHAT_ROUTE:
            status, answer = await wire.send(route, b"{}", wire.signed(claims))
            assert (route, status) == (route, 403)
            assert route.startswith("HEAD") or code(answer) in ("proof_inconsistent", "Forbidden")


async def test_paths_that_only_look_open_are_denied(wire: Wire) -> None:
    for path in ("/health/../flush_cache", "//health", "/healthz", "/docs", "/metrics/x", "/"):
        status, _ = await wire.send(f"GET {path}")
        assert (path, status) == (path, 403)
    assert (await wire.send("POST /health", b"{}"))[0] == 403


async def test_health_is_open_and_metrics_need_a_key(wire: Wire) -> None:
    async with stranger() as session:
        async with session.get(f"{wire.engine.url}/health") as response:
            assert response.status == 200
        async with session.get(f"{wire.engine.url}/metrics") as response:
            assert response.status == 403
        async with session.get(f"{wire.engine.url}/bulkhead/v1/worker") as response:
            assert response.status == 401
    status, text = await wire.send("GET /metrics")
    assert status == 200
    assert "sglang" in text


async def test_the_scheduler_refuses_what_reaches_it_without_a_tenants_proof(wire: Wire) -> None:
    """The operator may open any route of the server, and still no request runs for nobody."""
    sampling = {"max_new_tokens": 2, "temperature": 0}
    for text in ("Hello", ["Hello", "Good day"]):
        request = {"text": text, "sampling_params": sampling, "cache_salt": new_namespace()}
        status, answer = await wire.open("POST /generate", request)
        assert status != 200
        assert "proof_missing" in orjson.dumps(answer).decode()
    completion = {"model": "base", "prompt": "Hello", "max_tokens": 2}
    status, answer = await wire.open("POST /v1/completions", completion)
    assert status != 200
    assert "proof_missing" in orjson.dumps(answer).decode()


async def test_a_prefix_of_a_request_id_aborts_nothing(wire: Wire) -> None:
    body = wire.body(max_tokens=6_000, ignore_eos=True)
    generating = asyncio.create_task(wire.chat(body))
    async with asyncio.timeout(60):
        while await wire.running() == 0:
            await asyncio.sleep(0.05)
        for rid in ("", body["rid"][:4], body["rid"][:31], None):
            status, answer = await wire.open("POST /abort_request", {"rid": rid})
            assert (status, code(answer)) == (403, "body_refused")
        status, _ = await wire.open("POST /abort_request", {"rid": "", "abort_all": True})
        assert status == 403
        await asyncio.sleep(0.2)
        assert await wire.running() == 1
        # The control: the whole id does.
        assert (await wire.open("POST /abort_request", {"rid": body["rid"]}))[0] == 200
        await generating
        while await wire.running():
            await asyncio.sleep(0.05)


async def test_keys_are_rotated_while_the_engine_serves(
    local_engine: LocalEngine, wire: Wire
) -> None:
    (trust,) = local_engine.log.parent.parent.glob("run/engine-*-trust.json")
    old, new = signer_for_tests(1).trusted(), signer_for_tests(2).trusted()
    successor = Wire(wire.engine, seed=bytes([2]) * 32)
    before = trust.read_text()
    try:
        assert code((await successor.chat(successor.body()))[1]) == "proof_forged"
        trust.write_text(trust_document([old, new]))
        assert (await wire.chat(wire.body()))[0] == 200
        assert (await successor.chat(successor.body()))[0] == 200
        trust.write_text(trust_document([new]))
        assert code((await wire.chat(wire.body()))[1]) == "proof_forged"
        assert (await successor.chat(successor.body()))[0] == 200
        trust.write_text("{")  # broken: nobody is trusted
        assert code((await successor.chat(successor.body()))[1]) == "proof_forged"
    finally:
        trust.write_text(before)
    assert (await wire.chat(wire.body()))[0] == 200


async def test_the_scheduler_attests_what_is_in_force(engine: EngineClient) -> None:
    info = await engine.ask(operator_for_tests(), "GET /server_info")
    (state,) = info["internal_states"]
    assert state["bulkhead"]["worker"] == engine._worker
    assert any("handle_generate_request" in hook for hook in state["bulkhead"]["hooks"])
