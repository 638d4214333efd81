"""Our engine's speed beside the plain recipe's: one stream, eight, a prompt, a cached one."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from typing import Any

from evals.performance.engine_side import (
    Asker,
    Progress,
    in_turns,
    ratio_of_rounds,
    running_sides,
)
from evals.performance.recipe import recipe
from isolation.namespaces import Namespace
from isolation.testing.contexts import tenant_for_tests
from serving.engine.client import EngineClient
from serving.engine.launch import Worker

# Words of about two tokens: a prompt with its passages.
_CONTEXT, _TOKENS = 200, 48


async def measure(worker: Worker, rounds: int, progress: Progress) -> dict[str, Any]:
    """Tokens per second of each phase and side, and how many times the recipe's rate ours is."""
    phases = {
        "decode, 1 stream": _one,
        "decode, 8 streams": _eight,
        "prefill": _prefill,
        "prefill after a cached prefix": _cached,
    }
    async with running_sides(worker, progress, {"ours": True}, {"recipe": recipe}) as sides:
        rates = await in_turns(sides, phases, rounds, progress)
    return {
        phase: {
            "recipe": round(statistics.median(measured["recipe"]), 1),
            "ours": round(statistics.median(measured["ours"]), 1),
            "times": round(ratio_of_rounds(measured["ours"], measured["recipe"]), 2),
        }
        for phase, measured in rates.items()
    }


def _asker(client: EngineClient) -> Asker:
    return Asker(client, tenant_for_tests("speed"), Namespace(secrets.token_hex(32)))


def _message(words: int) -> dict[str, str]:
    return {"role": "user", "content": " ".join(secrets.token_hex(2) for _ in range(words))}


async def _one(client: EngineClient) -> float:
    return await _decoded(client, 1)


async def _eight(client: EngineClient) -> float:
    return await _decoded(client, 8)


async def _decoded(client: EngineClient, streams: int) -> float:
    """Output tokens per second; the prompts are in the cache before."""
    pairs = [(_asker(client), [_message(_CONTEXT)]) for _ in range(streams)]
    for asker, messages in pairs:
        await asker.ask(messages, 1)
    begun = time.perf_counter()
    asked = (asker.ask(messages, _TOKENS, whole=True) for asker, messages in pairs)
    answers = await asyncio.gather(*asked)
    return sum(a.usage.completion for a in answers) / (time.perf_counter() - begun)


async def _prefill(client: EngineClient) -> float:
    answer = await _asker(client).ask([_message(_CONTEXT)], 1)
    return answer.usage.prompt / answer.seconds


async def _cached(client: EngineClient) -> float:
    """A new turn after a long conversation: prompt tokens per second, most of them cached."""
    asker, history = _asker(client), [_message(2 * _CONTEXT)]
    await asker.ask(history, 1)
    answer = await asker.ask([*history, {"role": "assistant", "content": "Yes."}, _message(8)], 1)
    return answer.usage.prompt / answer.seconds
