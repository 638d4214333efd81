"""Prompts are counted beside the event loop, a piece at a time, tenants in turns, and no further
than to the cap."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from isolation.testing.contexts import tenant_for_tests
from serving.engine.tokens import ByteCounter
from serving.errors import ContextLimitError
from serving.gateway import counting
from serving.gateway.counting import Counting
from tests.gateway.conftest import Platform
from tests.turns import give_no_turns

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
CAP = FJELLVIK.tier.max_context_tokens
PIECE = counting._PIECE
QUIET = "quiet " * 100


class Listening(ByteCounter):
    """A token for every two pieces' worth of text; remembers what it counted, and where."""

    def __init__(self, characters_of_a_token: int = 2 * PIECE) -> None:
        self.counted: list[str] = []
        self.threads: set[int] = set()
        self._each = characters_of_a_token

    def count(self, text: str) -> int:
        self.counted.append(text)
        self.threads.add(threading.get_ident())
        return len(text) // self._each


async def _pieces_before(tokens: Listening, loud: str) -> int:
    """How many pieces of a tenant's long prompts are counted before another one's short one."""
    shared = Counting()
    flood = [asyncio.ensure_future(shared.of(FJELLVIK).checked(loud, tokens, 0)) for _ in range(3)]
    while not tokens.counted:
        await asyncio.sleep(0)
    begun = len(tokens.counted)
    await shared.of(VOLTBAY).checked(QUIET, tokens, 0)
    between = tokens.counted.index(QUIET) - begun
    await asyncio.gather(*flood)
    shared.close()
    return between


async def test_a_short_prompt_waits_for_a_piece_of_anothers() -> None:
    assert await _pieces_before(Listening(), "word " * PIECE * 8) <= 3


async def test_without_turns_it_waits_for_all_that_came_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The leaky twin: as long, with pieces but without turns, as with neither."""
    give_no_turns(monkeypatch)
    monkeypatch.setattr(counting, "windows", lambda text, most: [text])
    tokens = Listening()
    await _pieces_before(tokens, "word " * PIECE * 8)
    assert max(map(len, tokens.counted)) > 30 * PIECE


async def test_counting_stops_where_the_answer_is_known() -> None:
    shared, tokens = Counting(), Listening(characters_of_a_token=1)
    with pytest.raises(ContextLimitError, match=f"at least .* your tier allows {CAP}"):
        await shared.of(FJELLVIK).checked("x" * 2_000_000, tokens, 10)
    assert sum(map(len, tokens.counted)) <= CAP + PIECE
    shared.close()


async def test_what_fits_is_counted_whole() -> None:
    shared, tokens = Counting(), ByteCounter()
    text = ("word " * CAP)[: CAP - 7]
    assert await shared.of(FJELLVIK).checked(text, tokens, 7) == CAP - 7
    with pytest.raises(ContextLimitError):
        await shared.of(FJELLVIK).checked(text, tokens, 8)
    shared.close()


async def test_a_chat_is_not_counted_on_the_event_loops_thread(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway runs on this thread, and whatever is counted on it is waited for by everybody."""
    seen: list[tuple[bool, int]] = []
    whole, here = ByteCounter.count, threading.get_ident()

    def count(self: ByteCounter, text: str) -> int:
        seen.append((threading.get_ident() == here, len(text)))
        return whole(self, text)

    monkeypatch.setattr(ByteCounter, "count", count)
    async with httpx.AsyncClient(timeout=60, base_url=platform.url) as client:
        asked = {"role": "user", "content": "How long may I return? " * 70_000}
        reply = await client.post(
            "/v1/chat/completions",
            json={"model": "base", "messages": [asked]},
            headers={"Authorization": "Bearer key-f"},
        )
        assert reply.json()["error"]["code"] == "context_limit_exceeded"
        short = asked | {"content": "How long may I return?"}
        reply = await client.post(
            "/v1/chat/completions",
            json={"model": "base", "messages": [short]},
            headers={"Authorization": "Bearer key-f"},
        )
        assert reply.is_success
    assert max(length for on_loop, length in seen if on_loop) <= counting._SHORT
    assert 0 < sum(length for on_loop, length in seen if not on_loop) < 100_000
