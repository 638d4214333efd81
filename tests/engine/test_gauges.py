"""The scheduler's numbers on the engine's `/metrics`."""

from __future__ import annotations

import asyncio
import re

import pytest

from serving.engine.client import EngineClient
from tests.engine.wire import Wire

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]


async def _resident(wire: Wire) -> dict[str, float]:
    status, text = await wire.send("GET /metrics")
    assert status == 200
    found = re.findall(r'^bulkhead_kv_resident_tokens\{.*account="(\w+)".*\} (\S+)$', text, re.M)
    return {account: float(tokens) for account, tokens in found}


async def test_what_tenants_hold_is_shown_in_a_bounded_number_of_series(
    engine: EngineClient,
) -> None:
    wire = Wire(engine)
    assert (await wire.open("POST /flush_cache"))[0] == 200
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
