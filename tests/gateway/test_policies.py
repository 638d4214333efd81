"""`/admin/v1/policies`, and what it changes for the tenant's next message."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from isolation.masking.findings import Finding
from isolation.masking.masker import Masker
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.control.policies import PolicyRegistry
from serving.control.tenants import TenantRegistry
from serving.engine.client import EngineClient
from serving.gateway.app import create_app
from serving.gateway.chat import ChatService
from tests.databases import fresh_database
from tests.gateway.fakes import plain_runtime
from tests.signing import signer_for_tests
from tests.stub_engine import StubEngine

OPERATOR = {"Authorization": "Bearer operator"}
CARD = "4111111111111111"


class Cards:
    version = "1"

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        start = text.find(CARD)
        return [Finding(start, start + len(CARD), "CREDIT_CARD")] if start >= 0 else []


@pytest.fixture
def engine() -> StubEngine:
    return StubEngine()


@pytest.fixture
async def client(tmp_path: Path, engine: StubEngine) -> AsyncGenerator[httpx.AsyncClient, None]:
    database = await fresh_database(tmp_path / "bulkhead.db")
    registry, policies = TenantRegistry(database), PolicyRegistry(database)
    for name in ("fjellvik", "voltbay"):
        await registry.add(operator_for_tests(), tenant_for_tests(name).tenant_id, "business")
    async with engine.serving() as url:
        upstream = EngineClient(url, model="m", api_key="k", signer=signer_for_tests())
        parts = plain_runtime(upstream, tmp_path)
        assert parts.chat is not None
        masked = replace(parts.chat._parts, masker=Masker(Cards(), policies))
        chat = ChatService(masked, parts.chat._options)
        app = create_app(replace(parts, registry=registry, policies=policies, chat=chat))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(base_url="http://gateway", transport=transport) as client:
            yield client
        await upstream.close()
    await database.close()


async def _asked(client: httpx.AsyncClient, key: str, *, stream: bool = False) -> httpx.Response:
    messages = [{"role": "user", "content": f"My card is {CARD}"}]
    body = {"model": "base", "messages": messages, "stream": stream}
    headers = {"Authorization": f"Bearer {key}"}
    return await client.post("/v1/chat/completions", json=body, headers=headers)


async def test_a_policy_that_blocks_refuses_that_tenants_messages_alone(
    client: httpx.AsyncClient, engine: StubEngine
) -> None:
    url = "/admin/v1/policies/fjellvik"
    assert (await client.get(url, headers=OPERATOR)).json()["user"] == {}
    assert (await _asked(client, "key-f")).status_code == 200
    assert CARD not in str(engine.bodies[-1])
    policy = {"user": {"CREDIT_CARD": "block"}}
    assert (await client.put(url, json=policy, headers=OPERATOR)).status_code == 200
    refused = await _asked(client, "key-f")
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "content_blocked"
    assert CARD not in refused.text
    assert (await _asked(client, "key-v")).status_code == 200
    assert (await client.delete(url, headers=OPERATOR)).status_code == 200
    assert (await _asked(client, "key-f")).status_code == 200


async def test_a_foreign_value_of_a_blocked_kind_ends_that_tenants_answer_before_it(
    client: httpx.AsyncClient, engine: StubEngine
) -> None:
    foreign = "5500000000000004"
    engine.reply = f"The card is {foreign} as you know."
    policy = {"output": {"CREDIT_CARD": "block"}}
    put = await client.put("/admin/v1/policies/fjellvik", json=policy, headers=OPERATOR)
    assert put.status_code == 200
    whole = await _asked(client, "key-f")
    assert (whole.status_code, whole.json()["error"]["code"]) == (403, "answer_blocked")
    streamed = await _asked(client, "key-f", stream=True)
    assert "".join(re.findall('"content":"([^"]*)"', streamed.text)) == "The card is "
    assert streamed.text.endswith('"code":"answer_blocked"}}\n\ndata: [DONE]\n\n')
    assert '"finish_reason":"stop"' not in streamed.text
    for reply in (whole, streamed):
        assert foreign not in reply.text
    other = await _asked(client, "key-v")
    assert "The card is [removed] as you know." in other.text
    engine.reply = f"The card is {CARD} as you know."
    own = await _asked(client, "key-f")
    assert engine.reply in own.text


async def test_a_person_that_nothing_in_the_request_held_is_in_no_answer(
    client: httpx.AsyncClient, engine: StubEngine
) -> None:
    """One tenant's policy lets names pass: the leaky twin of the other's."""
    engine.reply = "It went to Sarah Miller, 24 Elm Street, Springfield, on Monday."
    policy = {"output": {"PERSON": "off", "STREET_ADDRESS": "off"}}
    put = await client.put("/admin/v1/policies/voltbay", json=policy, headers=OPERATOR)
    assert put.status_code == 200
    whole, streamed = await _asked(client, "key-f"), await _asked(client, "key-f", stream=True)
    assert "It went to [removed], on Monday." in whole.text
    for reply in (whole, streamed):
        assert not re.search("Sarah|Miller|Elm|Springfield", reply.text)
    assert engine.reply in (await _asked(client, "key-v")).text


@pytest.mark.parametrize(
    "policy",
    [
        {"patterns": [{"name": "OWN_ID", "expression": "(verify-secret"}]},
        {"user": {"verify-secret": "mask"}},
        {"verify-secret": 1},
        {"canaries": ["secret"]},
    ],
)
async def test_a_wrong_policy_is_refused_and_changes_nothing(
    client: httpx.AsyncClient, policy: dict[str, object]
) -> None:
    url = "/admin/v1/policies/fjellvik"
    refused = await client.put(url, json=policy, headers=OPERATOR)
    assert refused.status_code == 400
    assert refused.json()["code"] == "invalid_request"
    kept = await client.get(url, headers=OPERATOR)
    assert kept.json()["patterns"] == []


async def test_the_largest_policy_is_taken(client: httpx.AsyncClient) -> None:
    """Each of its characters as six of JSON."""
    policy = {
        "allow": [f"{n:04}" + "é" * 196 for n in range(2_000)],
        "canaries": [f"{n:03}" + "é" * 60 for n in range(100)],
    }
    answer = await client.put("/admin/v1/policies/fjellvik", json=policy, headers=OPERATOR)
    assert answer.is_success
    assert len(answer.json()["allow"]) == 2_000


async def test_policies_are_the_operators(client: httpx.AsyncClient) -> None:
    url = "/admin/v1/policies/fjellvik"
    tenant = {"Authorization": "Bearer key-f"}
    for reply in (
        await client.get(url, headers=tenant),
        await client.put(url, json={}, headers=tenant),
        await client.delete(url, headers=tenant),
    ):
        assert reply.status_code == 401
    unknown = await client.get("/admin/v1/policies/nobody", headers=OPERATOR)
    assert unknown.status_code == 404
