"""Many tenants at once: what the plugin costs when the engine is full."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from evals.performance.cost import compared
from evals.performance.engine_side import Asker, Progress, in_turns
from isolation.namespaces import Namespace
from isolation.testing.contexts import tenant_for_tests
from serving.engine.client import EngineClient


@dataclass(frozen=True, slots=True)
class Crowd:
    """Tenants, the streams that each has open at once, and tokens of each answer. Words are of
    four or five tokens."""

    tenants: int = 16
    streams: int = 4
    words: int = 150
    tokens: int = 128
    rounds: int = 5


async def measured(
    sides: dict[str, EngineClient], crowd: Crowd, progress: Progress
) -> dict[str, Any]:
    """Tokens per second of all tenants together on each side, and its cost against `stock`."""
    phases = {"first turns": _phase(crowd, 1), "second turns": _phase(crowd, 2)}
    rates = await in_turns(sides, phases, crowd.rounds, progress)
    return {phase: compared(each) for phase, each in rates.items()}


def _phase(crowd: Crowd, turns: int) -> Callable[[EngineClient], Awaitable[float]]:
    async def measured(client: EngineClient) -> float:
        askers = [
            Asker(client, tenant_for_tests(f"crowd-{number}"), Namespace(secrets.token_hex(32)))
            for number in range(crowd.tenants)
        ]
        begun = time.perf_counter()
        chats = (_chat(asker, crowd, turns) for asker in askers for _ in range(crowd.streams))
        tokens = sum(await asyncio.gather(*chats))
        return tokens / (time.perf_counter() - begun)

    return measured


async def _chat(asker: Asker, crowd: Crowd, turns: int) -> int:
    messages: list[dict[str, str]] = []
    tokens = 0
    for _ in range(turns):
        words = " ".join(secrets.token_hex(2) for _ in range(crowd.words))
        messages.append({"role": "user", "content": words})
        answer = await asker.ask(messages, crowd.tokens, whole=True)
        messages.append({"role": "assistant", "content": answer.text})
        tokens += answer.usage.completion
    return tokens
