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

# Words of four or five tokens: about 600, a prompt with its passages.
_CONTEXT, _TOKENS = 130, 48


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


def _asker(client: EngineClient, tenant: str = "speed") -> Asker:
    return Asker(client, tenant_for_tests(tenant), Namespace(secrets.token_hex(32)))


def _message(words: int) -> dict[str, str]:
    return {"role": "user", "content": " ".join(secrets.token_hex(2) for _ in range(words))}


async def _one(client: EngineClient) -> float:
    return await _decoded(client, 1)


async def _eight(client: EngineClient) -> float:
    return await _decoded(client, 8)


async def _decoded(client: EngineClient, streams: int) -> float:
    """Output tokens per second of as many tenants; their prompts are in the cache before."""
    pairs = [(_asker(client, f"speed-{n}"), [_message(_CONTEXT)]) for n in range(streams)]
    for asker, messages in pairs:
        await asker.ask(messages, 1)
    begun = time.perf_counter()
    asked = (asker.ask(messages, _TOKENS, whole=True) for asker, messages in pairs)
    answers = await asyncio.gather(*asked)
    spent = time.perf_counter() - begun
    if any(2 * a.usage.cached < a.usage.prompt for a in answers):
        raise RuntimeError("a prompt was not in the cache: this would measure its prefill")
    return sum(a.usage.completion for a in answers) / spent


async def _prefill(client: EngineClient) -> float:
    answer = await _asker(client).ask([_message(_CONTEXT)], 1)
    return answer.usage.prompt / answer.seconds


async def _cached(client: EngineClient) -> float:
    """A new turn after a long conversation: prompt tokens per second, most of them cached."""
    asker, history = _asker(client), [_message(2 * _CONTEXT)]
    await asker.ask(history, 1)
    answer = await asker.ask([*history, {"role": "assistant", "content": "Yes."}, _message(8)], 1)
    return answer.usage.prompt / answer.seconds
