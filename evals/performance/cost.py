"""What tenancy costs a prompt and a step of decoding, beside SGLang as it is.

A machine's speed wanders. So the turns are short, many, and in random order within a round; and a
turn begins with what brings back into memory what of an engine left it meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.performance.engine_side import (
    Asker,
    Messages,
    Progress,
    asker_of,
    random_words,
    ratios_of_rounds,
)
from evals.statistics import median_interval
from serving.engine.client import EngineClient

_PHASES = ("prefill", "decode")
_STREAMS, _CHAT_WORDS, _TOKENS = 8, 30, 16
_PROMPT_WORDS = 130


async def speed(
    sides: Mapping[str, EngineClient], rounds: int, progress: Progress
) -> dict[str, Any]:
    """Tokens per second, the median of all rounds, and each side's cost against stock."""
    turns = {name: _Turns.of(client) for name, client in sides.items()}
    rates: dict[str, dict[str, list[float]]] = {p: {n: [] for n in sides} for p in _PHASES}
    for number in range(rounds):
        progress(f"cost: round {number + 1} of {rounds}")
        for name in random.sample(list(sides), len(sides)):
            await turns[name].warm()
            rates["decode"][name].append(await turns[name].decode())
            rates["prefill"][name].append(await turns[name].prefill())
    return {phase: compared(measured) for phase, measured in rates.items()}


@dataclass(frozen=True, slots=True)
class _Turns:
    """One side: chats of several tenants that stay in its cache, and prompts that nobody sent."""

    client: EngineClient
    chats: Sequence[tuple[Asker, Messages]]

    @classmethod
    def of(cls, client: EngineClient) -> _Turns:
        words = [[{"role": "user", "content": random_words(_CHAT_WORDS)}] for _ in range(_STREAMS)]
        return cls(client, [(asker_of(client, f"cost-{n}"), w) for n, w in enumerate(words)])

    async def warm(self) -> None:
        for asker, messages in self.chats:
            await asker.ask(messages, 1)

    async def decode(self) -> float:
        """Output tokens per second, of all chats at once."""
        begun = time.perf_counter()
        asked = (asker.ask(messages, _TOKENS, whole=True) for asker, messages in self.chats)
        answers = await asyncio.gather(*asked)
        spent = time.perf_counter() - begun
        if any(2 * answer.usage.cached < answer.usage.prompt for answer in answers):
            raise RuntimeError("a prompt was not in the cache: this would measure its prefill")
        return sum(answer.usage.completion for answer in answers) / spent

    async def prefill(self) -> float:
        """Input tokens per second, of one prompt."""
        messages = [{"role": "user", "content": random_words(_PROMPT_WORDS)}]
        answer = await asker_of(self.client, "cost").ask(messages, 1)
        return answer.usage.prompt / answer.seconds


def compared(measured: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Each side's median, and its cost against `stock` in the same rounds."""
    return {name: _cost(rates, measured["stock"]) for name, rates in measured.items()}


def _cost(rates: Sequence[float], stock: Sequence[float]) -> dict[str, Any]:
    costs = [1 - ratio for ratio in ratios_of_rounds(rates, stock)]
    low, high = median_interval(costs)
    return {
        "tokens_per_second": round(statistics.median(rates), 1),
        "cost": round(statistics.median(costs), 4),
        "cost_95": [round(low, 4), round(high, 4)],
        "rounds": {
            "tokens_per_second": [round(rate, 1) for rate in rates],
            "cost": [round(cost, 4) for cost in costs],
        },
    }
