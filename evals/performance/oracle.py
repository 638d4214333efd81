"""The prefix cache as a clock: does another tenant's prompt answer sooner than a new one?

Gu et al., "Auditing Prompt Caching in Language Model APIs", 2025 (arXiv 2502.07776): the times of
prompts that may be cached against those of prompts that cannot be, in a one-sided
Kolmogorov-Smirnov test. The kinds are asked in random order, so that all see the same machine.
"""

from __future__ import annotations

import math
import random
import secrets
import statistics
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from evals.performance.engine_side import Asker, Progress, running_sides
from isolation.namespaces import Namespace
from isolation.testing.contexts import tenant_for_tests
from serving.engine.client import EngineClient
from serving.engine.launch import Worker

# Of the audit; the tests of a run are few, and none may be wrong.
ALPHA = 1e-8
_WORDS = 200


async def measure(worker: Worker, trials: int, progress: Progress) -> dict[str, Any]:
    """What each kind's times say against those of new prompts.

    own: a tenant's own prompt again, the positive control. foreign: another tenant's prompt.
    shared: the same where both have one namespace, as if the salt were dropped: the leaky twin.
    """
    async with running_sides(worker, progress, {"ours": True}, {}) as sides:
        seconds = await _asked(sides["ours"], trials, progress)
    new = seconds.pop("new")
    result: dict[str, Any] = {
        kind: {"median_ms": _ms(times)} | _judged(times, new) for kind, times in seconds.items()
    }
    return {"trials": trials, "alpha": ALPHA, "new": {"median_ms": _ms(new)}, "kinds": result}


def smaller(sample: Sequence[float], other: Sequence[float]) -> float:
    """The chance that `sample` were so much the smaller if both came from one distribution: the
    one-sided two-sample Kolmogorov-Smirnov test, in its asymptotic form."""
    ordered = sorted(sample), sorted(other)
    largest, i, j = 0.0, 0, 0
    for value in sorted({*sample, *other}):
        while i < len(sample) and ordered[0][i] <= value:
            i += 1
        while j < len(other) and ordered[1][j] <= value:
            j += 1
        largest = max(largest, i / len(sample) - j / len(other))
    size = len(sample) * len(other) / (len(sample) + len(other))
    return math.exp(-2 * size * largest**2)


def _judged(times: Sequence[float], new: Sequence[float]) -> dict[str, Any]:
    chance = smaller(times, new)
    return {"p": chance, "told_apart": chance < ALPHA}


def _ms(times: Sequence[float]) -> float:
    return round(1000 * statistics.median(times), 1)


async def _asked(client: EngineClient, trials: int, progress: Progress) -> dict[str, list[float]]:
    victims, own = (Namespace(secrets.token_hex(32)) for _ in range(2))
    victim = Asker(client, tenant_for_tests("victim"), victims)
    attacker = Asker(client, tenant_for_tests("attacker"), own)
    twin = Asker(client, tenant_for_tests("attacker"), victims)
    kinds: dict[str, Callable[[], Awaitable[float]]] = {
        "own": lambda: _again(attacker, attacker),
        "foreign": lambda: _again(victim, attacker),
        "shared": lambda: _again(victim, twin),
        "new": lambda: _after_another(victim, attacker),
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(trials):
        progress(f"trial {number + 1} of {trials}")
        for kind in random.sample(list(kinds), len(kinds)):
            seconds[kind].append(await kinds[kind]())
    return seconds


async def _again(first: Asker, second: Asker) -> float:
    prompt = _prompt()
    await _first(first, prompt)
    return await _first(second, prompt)


async def _after_another(first: Asker, second: Asker) -> float:
    """A new prompt; before it another one is asked, as with the other kinds."""
    await _first(first, _prompt())
    return await _first(second, _prompt())


async def _first(asker: Asker, prompt: str) -> float:
    return (await asker.ask([{"role": "user", "content": prompt}], 1)).seconds


def _prompt() -> str:
    return " ".join(secrets.token_hex(2) for _ in range(_WORDS))
