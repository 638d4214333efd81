"""The scheduler's numbers on the engine's `/metrics`."""

from __future__ import annotations

import asyncio
import re
import secrets

import pytest

from serving.engine.client import EngineClient
from serving.engine_plugin.claims import KvPolicy
from tests.engine.wire import Wire

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]


async def _shown(wire: Wire, name: str) -> dict[str, float]:
    status, text = await wire.send("GET /metrics")
    assert status == 200
    found = re.findall(rf'^{name}\{{.*account="(\w+)".*\}} (\S+)$', text, re.M)
    return {account: float(tokens) for account, tokens in found}


async def _resident(wire: Wire) -> dict[str, float]:
    return await _shown(wire, "bulkhead_kv_resident_tokens")


async def _evicted(wire: Wire) -> float:
    """In all accounts together: one of them may have no series of its own."""
    return sum((await _shown(wire, "bulkhead_kv_evicted_tokens_total")).values())


async def test_what_tenants_hold_is_shown_in_a_bounded_number_of_series(
    engine: EngineClient,
) -> None:
    wire = Wire(engine)
    await wire.flush()
    accounts = [f"{number:032x}" for number in range(70)]
    await asyncio.gather(*(wire.chat(wire.body(), account=account) for account in accounts))
    await asyncio.sleep(1.1)  # shown at most once a second
    await wire.chat(wire.body(), account=accounts[0])
    shown = await _resident(wire)
    assert len(shown) <= 51
    _, answer = await wire.open("GET /bulkhead/v1/accounts")
    (rank,) = answer["ranks"]
    held = sum(account["resident"] for account in rank["accounts"].values())
    # Shown in a step of the last request, which added a token or two after it.
    assert sum(shown.values()) == pytest.approx(held, abs=5)
    assert shown["other"] > 0


async def test_what_was_evicted_is_counted(engine: EngineClient) -> None:
    wire, owner = Wire(engine), "a" * 32
    await wire.flush()
    await asyncio.sleep(1.1)
    await wire.chat(wire.body(), account=owner)
    before = await _evicted(wire)
    await wire.chat(wire.body(), account=owner)
    assert await _evicted(wire) == before  # a request by itself evicts nothing
    text = " ".join(secrets.token_hex(2) for _ in range(300))
    # Above its cap, what it leaves goes as soon as it ends.
    body = wire.body(messages=[{"role": "user", "content": text}])
    await wire.chat(body, account=owner, policy=KvPolicy(cap=0.005))
    _, answer = await wire.open("GET /bulkhead/v1/accounts")
    told = answer["ranks"][0]["accounts"][owner]["evicted"]
    assert told > 300
    await asyncio.sleep(1.1)
    await wire.chat(wire.body(), account=owner)
    # What the last request itself evicts is shown with the next one.
    assert told <= await _evicted(wire) - before <= told + 100
