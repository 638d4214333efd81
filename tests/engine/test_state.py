"""What stays in the engine of a tenant's KV, read from its pool through the operator's route.

`inside/scheduler_state.py` reads every slot that a tenant was given, at the moment of its release.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import orjson
import pytest

from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.engine.client import EngineClient, Job
from serving.engine_plugin.claims import CHAT_ROUTE, HEADER, KvPolicy
from tests.engine.wire import Wire, new_namespace
from tests.signing import signer_for_tests

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

# A small cap: most of what a request leaves is freed as soon as it ends.
KEPT, SCRUBBED = (KvPolicy(cap=0.005, scrub=scrub) for scrub in (False, True))


@pytest.fixture
def wire(engine: EngineClient) -> Wire:
    return Wire(engine)


def _question(words: int, **changes: Any) -> dict[str, Any]:
    text = " ".join(secrets.token_hex(2) for _ in range(words))
    return {"messages": [{"role": "user", "content": text}]} | changes


async def _free(wire: Wire) -> tuple[int, int]:
    """Free slots, and how many of them hold anything, as read from the pool."""
    status, answer = await wire.open("GET /bulkhead/v1/audit")
    assert status == 200
    (rank,) = answer["ranks"]
    return int(rank["free"]), int(rank["dirty"])


async def _dirty(wire: Wire) -> int:
    free, dirty = await _free(wire)
    assert free > 0
    return dirty


async def _resident(wire: Wire, account: str) -> int:
    _, answer = await wire.open("GET /bulkhead/v1/accounts")
    return int(answer["ranks"][0]["accounts"].get(account, {"resident": 0})["resident"])


async def _tokens(wire: Wire) -> int:
    """Of the whole pool."""
    _, answer = await wire.open("GET /bulkhead/v1/accounts")
    return int(answer["ranks"][0]["tokens"])


async def _flush(wire: Wire) -> None:
    await wire.flush()
    assert await _dirty(wire) == 0


async def test_slots_that_are_released_hold_zeros(wire: Wire) -> None:
    assert (await wire.chat(wire.body(**_question(300)), policy=SCRUBBED))[0] == 200
    assert await _dirty(wire) == 0


async def test_without_scrubbing_the_same_slots_hold_the_data(wire: Wire) -> None:
    """The control: the pool that the test above reads is the one that has the data."""
    assert (await wire.chat(wire.body(**_question(300)), policy=KEPT))[0] == 200
    assert await _dirty(wire) > 300
    await _flush(wire)  # a flush forgets whatever the policy kept


async def test_an_abandoned_request_leaves_zeros(wire: Wire) -> None:
    for policy in (SCRUBBED, KEPT):
        body = orjson.dumps(
            wire.body(**_question(300, stream=True, max_tokens=5_000, ignore_eos=True))
        )
        claims = wire.claims(body, policy=policy)
        headers = {HEADER: wire.signed(claims), "content-type": "application/json"}
        url = f"{wire.engine.url}/v1/chat/completions"
        async with wire.engine._session.post(url, data=body, headers=headers) as response:
            await response.content.read(500)
        status, answer = await wire.open(
            "POST /bulkhead/v1/settle", {"request_id": claims.request_id}
        )
        assert (status, answer["cost"]["peak_kv_tokens"] > 300) == (200, True)
        assert (await _dirty(wire) > 0) == (policy is KEPT)
    await _flush(wire)


async def test_an_aborted_request_leaves_zeros(wire: Wire) -> None:
    for policy in (SCRUBBED, KEPT):
        body = wire.body(**_question(300, max_tokens=5_000, ignore_eos=True))
        asked = asyncio.create_task(wire.chat(body, policy=policy))
        while await wire.running() == 0:
            await asyncio.sleep(0.05)
        assert (await wire.open("POST /abort_request", {"rid": body["rid"]}))[0] == 200
        await asked
        assert (await _dirty(wire) > 0) == (policy is KEPT)
    await _flush(wire)


async def test_a_flood_beyond_the_pool_takes_from_itself_and_from_who_is_above_its_share(
    wire: Wire,
) -> None:
    """What it does to anybody on SGLang as it is shows `test_stock_twin`."""
    await _flush(wire)  # what other tests left would be evicted instead
    quiet = Chat(wire, account="d" * 32)
    await quiet.turn(_question(400)["messages"])
    victim, light = wire.body(**_question(400)), KvPolicy(weight=0.01)
    assert (await wire.chat(victim, account="b" * 32, policy=light))[0] == 200
    held = await _resident(wire, "b" * 32)
    assert held > 400
    flooded, read = 0, 0
    for _ in range(14):
        status, answer = await wire.chat(wire.body(**_question(500)), account="c" * 32)
        assert status == 200
        flooded += answer["usage"]["prompt_tokens"]
        # Evicted slots that the flood did not take at once hold zeros; it may have taken them all.
        free, dirty = await _free(wire)
        assert dirty == 0
        read += free
    assert read > 0
    assert flooded > await _tokens(wire)
    # The control: there was an eviction, and it took another tenant's prefix.
    assert await _resident(wire, "b" * 32) < held
    known = quiet.prompt_tokens
    assert await quiet.turn(_question(5)["messages"]) >= known - 1


class Chat:
    """One tenant's conversation."""

    def __init__(self, wire: Wire, account: str) -> None:
        self._wire, self._account = wire, account
        self._namespace = new_namespace()
        self._messages: list[dict[str, str]] = []
        self.prompt_tokens = 0

    async def turn(self, more: list[dict[str, str]]) -> int:
        """Ask; how many tokens of the prompt were cached."""
        self._messages += more
        body = self._wire.body(messages=self._messages, cache_salt=self._namespace)
        status, answer = await self._wire.chat(body, account=self._account)
        assert status == 200
        said = answer["choices"][0]["message"]["content"]
        self._messages.append({"role": "assistant", "content": said})
        self.prompt_tokens = answer["usage"]["prompt_tokens"]
        return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


async def test_a_purged_tenant_leaves_nothing_and_the_others_stay(engine: EngineClient) -> None:
    wire, signer = Wire(engine), signer_for_tests()
    gone, stays = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
    question = _question(100)["messages"]
    namespaces = {ctx: new_namespace() for ctx in (gone, stays)}

    async def cached(ctx: Any) -> int:
        job = Job(secrets.token_hex(16), question, 2, {"temperature": 0})
        stream = engine.of(ctx, namespaces[ctx]).stream(job)
        (usage,) = [delta.usage async for delta in stream if delta.usage is not None]
        return usage.cached

    for ctx in (gone, stays):
        await cached(ctx)
        assert await cached(ctx) > 100
    endless = Job(secrets.token_hex(16), question, 6_000, {"ignore_eos": True})
    running = asyncio.create_task(_drained(engine.of(gone, namespaces[gone]), endless))
    while await wire.running() == 0:
        await asyncio.sleep(0.05)
    # The control: prefixes and a running request are there.
    assert await _resident(wire, signer.account(gone.tenant_id)) > 100
    await engine.purge(operator_for_tests(), gone.tenant_id)
    assert await _resident(wire, signer.account(gone.tenant_id)) == 0
    assert await wire.running() == 0
    await running
    assert await _dirty(wire) == 0
    assert await cached(stays) > 100
    assert await cached(gone) == 0


async def _drained(engine: Any, job: Job) -> None:
    async for _ in engine.stream(job):
        pass


async def test_a_tenant_cannot_ask_for_a_purge_or_for_the_accounts(wire: Wire) -> None:
    for route in ("POST /bulkhead/v1/purge", "GET /bulkhead/v1/accounts", "GET /bulkhead/v1/audit"):
        body = orjson.dumps({"account": "b" * 32})
        claims = wire.claims(body, route=route)
        assert (await wire.send(route, body, wire.signed(claims)))[0] == 403


async def test_retracted_requests_leave_zeros_and_are_counted(changed_engine: EngineClient) -> None:
    wire = Wire(changed_engine)
    changes = [_question(100, max_tokens=40, ignore_eos=True) for _ in range(4)]
    costs = await asyncio.gather(*(_cost_of(wire, change) for change in changes))
    assert any(cost["retractions"] for cost in costs)
    assert not any(cost["preemptions"] for cost in costs)
    assert await _dirty(wire) == 0


async def _cost_of(wire: Wire, changes: dict[str, Any]) -> Any:
    body = orjson.dumps(wire.body(**changes))
    headers = {
        HEADER: wire.signed(wire.claims(body, policy=SCRUBBED)),
        "content-type": "application/json",
    }
    path = CHAT_ROUTE.partition(" ")[2]
    async with wire.engine._session.post(
        f"{wire.engine.url}{path}", data=body, headers=headers
    ) as response:
        return orjson.loads(response.headers["x-bulkhead-cost"])
