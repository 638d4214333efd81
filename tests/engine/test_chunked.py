"""A prompt in several chunks, while others need its slots: what it has computed stays."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from serving.engine.client import EngineClient
from serving.engine_plugin.claims import KvPolicy
from tests.engine.wire import Wire

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

LONG, LOUD = "d" * 32, "e" * 32
CHUNK = 704
# Next to nothing is the long one's share: whatever of it could go would go first.
LIGHT = KvPolicy(weight=1e-6)


def _question(words: int) -> list[dict[str, Any]]:
    text = " ".join(secrets.token_hex(2) for _ in range(words))
    return [{"role": "user", "content": text}]


async def _evicted(wire: Wire, account: str) -> int:
    _, answer = await wire.open("GET /bulkhead/v1/accounts")
    return int(answer["ranks"][0]["accounts"].get(account, {"evicted": 0})["evicted"])


async def _flood(wire: Wire) -> None:
    """Fill the pool, each request with new tokens, until it is cancelled."""
    while True:
        bodies = [wire.body(messages=_question(500), max_tokens=1) for _ in range(2)]
        await asyncio.gather(*(wire.chat(body, account=LOUD) for body in bodies))


async def test_a_chunked_prompt_keeps_its_slots_under_a_flood(engine: EngineClient) -> None:
    wire, messages = Wire(engine), _question(1_500)
    asked = {"messages": messages, "max_tokens": 20, "ignore_eos": True}
    status, alone = await wire.chat(wire.body(**asked), account=LONG, policy=LIGHT)
    assert (status, alone["usage"]["prompt_tokens"] > 4 * CHUNK) == (200, True)
    assert (await wire.open("POST /flush_cache"))[0] == 200
    flood = asyncio.create_task(_flood(wire))
    async with asyncio.timeout(120):
        while await _evicted(wire, LOUD) == 0:  # the pool is full
            await asyncio.sleep(0.1)
    before = await _evicted(wire, LOUD)
    try:
        status, among = await wire.chat(wire.body(**asked), account=LONG, policy=LIGHT)
        during = await _evicted(wire, LOUD)
        lost = await _evicted(wire, LONG)
    finally:
        flood.cancel()
        await asyncio.wait({flood})
    assert status == 200
    # It had to make room for itself, chunk by chunk, out of the flood's.
    assert during - before > 2 * CHUNK
    assert lost == 0
    assert among["choices"][0]["message"]["content"] == alone["choices"][0]["message"]["content"]
    assert (await wire.open("POST /flush_cache"))[0] == 200
