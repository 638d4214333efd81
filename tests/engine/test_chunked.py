"""A prompt in several chunks, while others need its slots: what it has computed stays."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import orjson
import pytest

from serving.engine.client import EngineClient
from serving.engine.server_sent_events import data_lines
from serving.engine_plugin.claims import HEADER, KvPolicy
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


async def _answer(wire: Wire, messages: list[dict[str, Any]]) -> tuple[str, int]:
    """The long one's answer, and how many of its tokens were evicted when it began."""
    asked = wire.body(messages=messages, max_tokens=40, ignore_eos=True, stream=True)
    body = orjson.dumps(asked)
    proof = wire.signed(wire.claims(body, account=LONG, policy=LIGHT))
    headers = {HEADER: proof, "content-type": "application/json"}
    url, text, lost = f"{wire.engine.url}/v1/chat/completions", "", None
    async with wire.engine._session.post(url, data=body, headers=headers) as response:
        async for line in data_lines(response.content):
            choices = orjson.loads(line).get("choices")
            said = choices[0]["delta"].get("content") if choices else None
            text += said or ""
            if said and lost is None:
                lost = await _evicted(wire, LONG)
    assert lost is not None
    return text, lost


async def test_a_chunked_prompt_keeps_its_slots_under_a_flood(engine: EngineClient) -> None:
    wire, messages = Wire(engine), _question(1_000)
    alone, _ = await _answer(wire, messages)
    await wire.flush()
    flood = asyncio.create_task(_flood(wire))
    try:
        async with asyncio.timeout(120):
            while (before := await _evicted(wire, LOUD)) == 0:  # until the pool is full
                await asyncio.sleep(0.1)
            among, lost = await _answer(wire, messages)
            # It made room for itself, chunk by chunk, out of the flood's.
            assert await _evicted(wire, LOUD) - before > 2 * CHUNK
            assert lost == 0
            assert among == alone
            # The control: as soon as it has ended, what is left of it does go.
            while await _evicted(wire, LONG) == 0:
                await asyncio.sleep(0.1)
    finally:
        flood.cancel()
        await asyncio.wait({flood})
    await wire.flush()
