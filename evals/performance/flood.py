"""One tenant fills the KV pool with prompts that nobody asks twice, while quiet ones repeat theirs.

At the engine itself: no fair queue stands before it, so the times hold what a quiet request waits
for the flood's steps, on every side alike.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from evals.performance.engine_side import Answer, Asker, Messages, asker_of, random_words
from serving.engine.client import EngineClient

_Chat = tuple[Asker, Messages]


@dataclass(frozen=True, slots=True)
class Flood:
    """How much. Words are of four or five tokens.

    victims: quiet tenants, each of which asks its prompt `asks` times alone and as often during the
    flood, `together` of them at once. prompts: the flood's before they ask again; it goes on, with
    `streams` of one tenant at once, until the last of them is answered.
    All victims' prompts fit the pool. With what the flood sends between two asks of one victim they
    do not: a tree that knows no tenants has lost a prompt whenever it is asked again.
    """

    victims: int = 50
    victim_words: int = 45
    asks: int = 2
    together: int = 4
    prompts: int = 40
    words: int = 55
    streams: int = 4


async def measured(client: EngineClient, flood: Flood) -> dict[str, Any]:
    """Hit rates and times to the first token, alone and during the flood."""
    victims: list[_Chat] = [
        (asker_of(client, f"victim-{n}"), [_message(flood.victim_words)])
        for n in range(flood.victims)
    ]
    await _answers(victims, flood)
    alone = await _answers(victims * flood.asks, flood)
    async with flooding(client, flood) as loud:
        before = loud.tokens
        during = await _answers(victims * flood.asks, flood)
        sent = loud.tokens
    return {
        "victims": flood.victims,
        "flood_streams": flood.streams,
        "flood_tokens_before": before,
        "flood_tokens": sent,
        "alone": _hit_rate(alone),
        # Of what the flood's first prompts left: each victim's first ask since then.
        "after": _hit_rate(during[: flood.victims]),
        "during": _hit_rate(during),
        "first_token_alone": _times(alone),
        "first_token_during": _times(during),
    }


class Loud:
    """The tenant that floods. tokens: of its prompts that were answered."""

    def __init__(self, client: EngineClient, flood: Flood) -> None:
        self._asker = asker_of(client, "loud")
        self._flood = flood
        self._prompts = self.tokens = 0
        self.filled = asyncio.Event()
        self.stopped = False

    async def run(self) -> None:
        """One stream: prompt after prompt, until it is stopped."""
        while not self.stopped:
            answer = await self._asker.ask([_message(self._flood.words)], 1)
            self.tokens += answer.usage.prompt
            self._prompts += 1
            if self._prompts >= self._flood.prompts:
                self.filled.set()


@asynccontextmanager
async def flooding(client: EngineClient, flood: Flood) -> AsyncGenerator[Loud, None]:
    """The flood's first prompts have been answered; it goes on to the end of the block."""
    loud = Loud(client, flood)
    async with asyncio.TaskGroup() as group:
        for _ in range(flood.streams):
            group.create_task(loud.run())
        await loud.filled.wait()
        try:
            yield loud
        finally:
            loud.stopped = True


async def _answers(chats: Iterable[_Chat], flood: Flood) -> list[Answer]:
    """The next answer of each, in the order of `chats`."""
    answers: dict[int, Answer] = {}
    left = zip(itertools.count(), chats)

    async def in_turn() -> None:
        for number, (asker, messages) in left:
            answers[number] = await asker.ask(messages, 1)

    async with asyncio.TaskGroup() as group:
        for _ in range(flood.together):
            group.create_task(in_turn())
    return [answers[number] for number in sorted(answers)]


def _message(words: int) -> dict[str, str]:
    return {"role": "user", "content": random_words(words)}


def _hit_rate(answers: Sequence[Answer]) -> float:
    cached = sum(answer.usage.cached for answer in answers)
    return round(cached / sum(answer.usage.prompt for answer in answers), 4)


def _times(answers: Sequence[Answer]) -> dict[str, Any]:
    """Of answers of one token."""
    times = sorted(1_000 * answer.seconds for answer in answers)
    return {
        "count": len(times),
        "p50_ms": round(statistics.median(times), 1),
        "p99_ms": round(statistics.quantiles(times, n=100, method="inclusive")[98], 1),
        "max_ms": round(times[-1], 1),
    }
