"""Our engine's speed beside the plain recipe's: one stream, eight, a prompt, a cached one. And
whether what ours charges to requests adds up to the time that it was busy."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from evals.performance.engine_side import (
    Progress,
    asker_of,
    decoded,
    in_turns,
    random_words,
    ratios_of_rounds,
    running_sides,
)
from evals.performance.metered_load import Mix
from evals.performance.metered_load import measured as metered
from evals.performance.recipe import recipe
from serving.engine.client import EngineClient
from serving.engine.launch import Worker

# Words of four or five tokens: about 600, a prompt with its passages.
_CONTEXT, _TOKENS = 130, 48


async def measure(worker: Worker, rounds: int, mix: Mix, progress: Progress) -> dict[str, Any]:
    """Tokens per second of each phase and side, how many times the recipe's rate ours is, and the
    metering of a mixed load."""
    phases = {
        "decode, 1 stream": _one,
        "decode, 8 streams": _eight,
        "prefill": _prefill,
        "prefill after a cached prefix": _cached,
    }
    async with running_sides(worker, progress, {"ours": True}, {"recipe": recipe}) as sides:
        rates = await in_turns(sides, phases, rounds, progress)
        progress("metering: a mixed load with aborts")
        load = await metered(sides["ours"], mix)
    return {
        "phases": {phase: _compared(**measured) for phase, measured in rates.items()},
        "metering": load.report(),
    }


def _compared(recipe: Sequence[float], ours: Sequence[float]) -> dict[str, Any]:
    times = ratios_of_rounds(ours, recipe)
    return {
        "recipe": round(statistics.median(recipe), 1),
        "ours": round(statistics.median(ours), 1),
        "times": round(statistics.median(times), 2),
        "rounds": {
            "recipe": [round(rate, 1) for rate in recipe],
            "ours": [round(rate, 1) for rate in ours],
            "times": [round(ratio, 2) for ratio in times],
        },
    }


def _message(words: int) -> dict[str, str]:
    return {"role": "user", "content": random_words(words)}


async def _one(client: EngineClient) -> float:
    return await decoded(client, _CONTEXT, 1, _TOKENS)


async def _eight(client: EngineClient) -> float:
    return await decoded(client, _CONTEXT, 8, _TOKENS)


async def _prefill(client: EngineClient) -> float:
    asker = asker_of(client, "speed")
    # Decoding has other kernels on one side: what of prefill's left the memory meanwhile is back.
    await asker.ask([_message(_CONTEXT)], 1)
    answer = await asker.ask([_message(_CONTEXT)], 1)
    return answer.usage.prompt / answer.seconds


async def _cached(client: EngineClient) -> float:
    """A new turn after a long conversation: prompt tokens per second, most of them cached."""
    asker, history = asker_of(client, "speed"), [_message(2 * _CONTEXT)]
    await asker.ask(history, 1)
    answer = await asker.ask([*history, {"role": "assistant", "content": "Yes."}, _message(8)], 1)
    return answer.usage.prompt / answer.seconds
