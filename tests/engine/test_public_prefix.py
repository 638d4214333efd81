"""A prefix that the operator shares with all: everybody hits it, and nothing else of anybody."""

from __future__ import annotations

import secrets
from typing import Any

import orjson
import pytest

from serving.engine.client import EngineClient
from serving.engine_plugin.identity import PUBLIC_NAMESPACE
from tests.engine.wire import Wire, new_namespace

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

_PUBLISH = "POST /bulkhead/v1/public"


@pytest.fixture
def wire(engine: EngineClient) -> Wire:
    return Wire(engine)


def _system() -> list[dict[str, str]]:
    text = " ".join(secrets.token_hex(2) for _ in range(150))
    return [{"role": "system", "content": f"You help customers. {text}"}]


async def _ask(wire: Wire, messages: Any, namespace: str, account: str) -> tuple[int, str]:
    """Cached tokens, and the answer."""
    body = wire.body(messages=messages, cache_salt=namespace, max_tokens=8)
    status, answer = await wire.chat(body, account=account * 32)
    assert status == 200
    usage = answer["usage"]["prompt_tokens_details"]
    return usage["cached_tokens"], answer["choices"][0]["message"]["content"]


async def test_all_tenants_hit_a_public_prefix_and_no_further(wire: Wire) -> None:
    system, one, two = _system(), new_namespace(), new_namespace()
    question = [*system, {"role": "user", "content": "Which tents are waterproof? " * 9}]
    cached, answered = await _ask(wire, question, new_namespace(), "a")
    assert cached < 32  # before it is published
    status, answer = await wire.open(_PUBLISH, {"messages": system})
    assert status == 200
    public = answer["ranks"][0]["tokens"]
    assert public > 300
    hits = [await _ask(wire, question, ns, name) for ns, name in ((one, "b"), (two, "c"))]
    for cached, text in hits:
        assert public - 32 < cached <= public
        assert text == answered  # the same model sees the same prompt
    # The control: its own question is hit by the tenant that asked it, and beyond the public part.
    assert (await _ask(wire, question, one, "b"))[0] > public + 30
    assert (await _ask(wire, question, two, "c"))[0] > public + 30
    assert (await wire.open("POST /flush_cache"))[0] == 200
    assert (await _ask(wire, question, new_namespace(), "a"))[0] < 32


async def test_no_tenant_writes_into_the_public_part(wire: Wire) -> None:
    body = orjson.dumps({"messages": _system()})
    status, _ = await wire.send(_PUBLISH, body, wire.signed(wire.claims(body, route=_PUBLISH)))
    assert status == 403
    status, answer = await wire.chat(wire.body(cache_salt=PUBLIC_NAMESPACE))
    assert status != 200
    assert "proof_inconsistent" in orjson.dumps(answer).decode()


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"messages": [{"role": "system"}]}])
async def test_a_prefix_that_is_no_conversation_is_refused(
    wire: Wire, body: dict[str, Any]
) -> None:
    assert (await wire.open(_PUBLISH, body))[0] == 403
