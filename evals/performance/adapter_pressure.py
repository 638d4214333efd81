"""More adapters than places: tenants that push each other out, and many that are registered.

Sheng et al., "S-LoRA: Serving Thousands of Concurrent LoRA Adapters", MLSys 2024, section 7: few
requests a second over many adapters, some asked much oftener than others (a power law).
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from evals.adapter_files import Files
from evals.performance.adapter_side import Owned, Shelf, Side, Timed
from evals.performance.engine_side import Progress
from serving.adapters.eviction import Places
from serving.adapters.names import BASE
from serving.engine.client import EngineClient

_WORDS, _TOKENS = 8, 6
_TENANTS_OF_THE_SWEEP = 20
_SKEW = 1.0  # of the power law


@dataclass(frozen=True, slots=True)
class Pressure:
    """seconds: of each load. pause: of the steady tenant and of the one without an adapter.
    places: fewer than the tenants that push. clients: of the sweep."""

    seconds: float = 40.0
    pause: float = 0.5
    places: int = 4
    pushing: int = 6
    minimum_seconds: float = 10.0
    registered: tuple[int, ...] = (10, 100, 1_000)
    clients: int = 8
    seed: int = 3

    @property
    def most_of_one_tenant(self) -> int:
        """Versions of a tenant in the sweep, with some to spare."""
        return max(self.registered) // _TENANTS_OF_THE_SWEEP + 10


async def thrash(
    registered: Shelf, client: EngineClient, files: Files, plan: Pressure, progress: Progress
) -> dict[str, Any]:
    """Tenants with an adapter each that ask without a pause, two clients of each; one that pauses
    after each answer, and one that uses no adapter. More adapters than places: protected, and by
    least recent use alone; and all fit: what the engine's load alone costs."""
    steady = await registered.add(await registered.tenant("steady"), "voice", files)
    plain = Owned(await registered.tenant("plain"), BASE)
    pushing = [
        await registered.add(await registered.tenant(f"pushing-{number}"), "voice", files)
        for number in range(plan.pushing)
    ]
    found = {}
    sides = {
        "all_fit": Places(1 + plan.pushing, 0.0),
        # Unused for no time at all, an adapter counts for nobody's share.
        "without_protection": Places(plan.places, 0.0, stale_seconds=0.0, loading=1.0),
        "with_protection": Places(plan.places, plan.minimum_seconds),
    }
    for name, places in sides.items():
        progress(f"thrash: {name}")
        async with registered.side(client, places) as side:
            load = _Load(side, plan.seconds)
            found[name] = await load.run([steady, plain], 2 * pushing, plan.pause)
    return {
        "places": plan.places,
        "adapters": 1 + plan.pushing,
        "minimum_seconds": plan.minimum_seconds,
        **found,
    }


class _Load:
    """Clients that ask until the time is over."""

    def __init__(self, side: Side, seconds: float) -> None:
        self._side = side
        self._end = time.perf_counter() + seconds
        self._begun = time.perf_counter()

    async def run(
        self, calm: Sequence[Owned], pushing: Sequence[Owned], pause: float
    ) -> dict[str, Any]:
        """calm: the steady tenant and the one without an adapter."""
        steady, plain, *others = await asyncio.gather(
            *(self._client(who, pause) for who in calm), *(self._client(who) for who in pushing)
        )
        spent = time.perf_counter() - self._begun
        answers = len(steady) + len(plain) + sum(map(len, others))
        return {
            "answers_per_second": round(answers / spent, 2),
            "loads_of_answers": round(self._side.loads() / answers, 2),
            "steady_tenant": _times(steady),
            "tenant_without_adapter": _times(plain),
            "pushing_tenants": _times([answer for client in others for answer in client]),
        }

    async def _client(self, who: Owned, pause: float = 0.0) -> list[Timed]:
        answers = []
        while time.perf_counter() < self._end:
            answers.append(await self._side.ask(who, _WORDS, _TOKENS))
            await asyncio.sleep(pause)
        return answers


async def sweep(
    registered: Shelf, client: EngineClient, files: Files, plan: Pressure, progress: Progress
) -> list[dict[str, Any]]:
    """The same load over ever more registered adapters, in the same places."""
    owners = [await registered.tenant(f"many-{n}") for n in range(_TENANTS_OF_THE_SWEEP)]
    known: list[Owned] = []
    rows = []
    for count in sorted(plan.registered):
        begun, before = time.perf_counter(), len(known)
        while len(known) < count:
            if len(known) % 50 == 0:
                progress(f"sweep: registering {len(known)} of {count}")
            owner = owners[len(known) % len(owners)]
            known.append(await registered.add(owner, f"voice-{len(known)}", files))
        took = time.perf_counter() - begun
        progress(f"sweep: {count} registered")
        async with registered.side(client, Places(plan.places, plan.minimum_seconds)) as side:
            row = await _drawn(side, known, plan)
        added = count - before
        per_upload = round(1_000 * took / added, 1) if added else None
        rows.append({"registered": count, "upload_ms": per_upload, **row})
    return rows


async def _drawn(side: Side, known: Sequence[Owned], plan: Pressure) -> dict[str, Any]:
    end = time.perf_counter() + plan.seconds
    weights = [1 / (rank + 1) ** _SKEW for rank in range(len(known))]
    answers: list[Timed] = []

    async def client(random: Random) -> None:
        while time.perf_counter() < end:
            (who,) = random.choices(known, weights)
            answers.append(await side.ask(who, _WORDS, _TOKENS))

    draws = [Random(plan.seed + n) for n in range(plan.clients)]
    await asyncio.gather(*(client(draw) for draw in draws))
    spent = time.perf_counter() - end + plan.seconds
    return {
        "answers_per_second": round(len(answers) / spent, 2),
        "loads_of_answers": round(side.loads() / len(answers), 3),
        "resolve_p50_ms": await _resolving(side, known),
        **_times(answers),
    }


async def _resolving(side: Side, known: Sequence[Owned]) -> float:
    """From a model's name to its version, with so many registered."""
    assert side.models is not None
    spent = []
    for who in Random(1).choices(known, k=50):
        begun = time.perf_counter()
        await side.models.of(who.ctx).resolve(who.model)
        spent.append(time.perf_counter() - begun)
    return round(1_000 * statistics.median(spent), 2)


def _times(answers: Sequence[Timed]) -> dict[str, Any]:
    first = sorted(1_000 * answer.first for answer in answers)
    if not first:
        return {"answers": 0}
    return {
        "answers": len(first),
        "first_token_p50_ms": round(statistics.median(first), 1),
        "first_token_p95_ms": round(first[min(len(first) - 1, int(0.95 * len(first)))], 1),
    }
