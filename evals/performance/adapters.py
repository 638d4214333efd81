"""What adapters cost: the time to load one, the speed of a mixed batch, and what they cost those
who use none."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from evals.adapter_files import Files, random_files
from evals.performance.adapter_pressure import Pressure, sweep, thrash
from evals.performance.adapter_side import Owned, Shelf, Side, engine, shelf
from evals.performance.engine_side import Progress, ratio_of_rounds
from serving.adapters.base_model import BaseModel, read_base_model
from serving.adapters.eviction import Places
from serving.engine.launch import Lora, Worker

# Small, as an adapter of tone is; of float32, which the engine computes in on a CPU.
_RANK, _MODULES = 8, ("q_proj", "v_proj")
_WORDS = 40
_BASE = "base"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much. batch, places: of the engine. registered: sizes of the sweep."""

    first_tokens: int = 12
    rounds: int = 5
    streams: int = 8
    tokens: int = 32
    batch: int = 4
    places: int = 8
    pressure: Pressure = field(default_factory=Pressure)


async def measure(worker: Worker, plan: Plan, progress: Progress) -> dict[str, Any]:
    """All parts, on an engine with adapters and, for the base model, on one without."""
    base = read_base_model("smollm2-135m-instruct", worker.model)
    files = _files(base, 1)
    lora = Lora(_RANK, plan.batch, plan.places)
    progress("starting both engines")
    async with (
        shelf(worker.model, plan.pressure.most_of_one_tenant) as registered,
        engine(worker, lora) as on,
        engine(worker, None) as off,
    ):
        result: dict[str, Any] = {"adapter_bytes": sum(map(len, files.values()))}
        async with registered.side(on, Places(plan.places, 0.0)) as side:
            owned = await _owned(registered, base, 2 * plan.places)
            result["first_token"] = await _first_tokens(side, owned, plan, progress)
            result["throughput"] = await _throughput(side, Side(off), owned, plan, progress)
        result["thrash"] = await thrash(registered, on, files, plan.pressure, progress)
        result["sweep"] = await sweep(registered, on, files, plan.pressure, progress)
    return {"plan": asdict(plan), "rank": _RANK, "modules": list(_MODULES)} | result


def _files(base: BaseModel, seed: int) -> Files:
    return random_files(base, seed=seed, rank=_RANK, modules=_MODULES, scale=0.05)


async def _owned(registered: Shelf, base: BaseModel, count: int) -> list[Owned]:
    """A tenant with an adapter, so many times."""
    return [
        await registered.add(
            await registered.tenant(f"owner-{number}"), "voice", _files(base, number)
        )
        for number in range(count)
    ]


async def _first_tokens(
    side: Side, owned: Sequence[Owned], plan: Plan, progress: Progress
) -> dict[str, Any]:
    """Cold: from the store. Warm: in the engine's host memory, in no slot of the batch. Resident:
    in a slot. Each question is new, so that no prefix is hit."""
    seconds: dict[str, list[float]] = {n: [] for n in ("base", "cold", "warm", "resident")}
    for number in range(plan.first_tokens):
        progress(f"first token: round {number + 1} of {plan.first_tokens}")
        # Whoever was asked longest ago is out: there are twice as many as places.
        who = owned[number % len(owned)]
        others = [owned[(number - n) % len(owned)] for n in range(1, plan.batch + 2)]
        before = side.loads()
        cold = await side.ask(who, _WORDS, 1)
        if side.loads() > before:
            seconds["cold"].append(cold.first)
        seconds["resident"].append((await side.ask(who, _WORDS, 1)).first)
        seconds["base"].append((await side.ask(Owned(who.ctx, _BASE), _WORDS, 1)).first)
        for other in others:  # they take the slots
            await side.ask(other, 1, 1)
        before = side.loads()
        warm = await side.ask(who, _WORDS, 1)
        if side.loads() == before:
            seconds["warm"].append(warm.first)
    return {name: _milliseconds(times) for name, times in seconds.items()}


def _milliseconds(times: Sequence[float]) -> dict[str, Any]:
    if not times:
        return {"count": 0}
    ordered = sorted(1_000 * t for t in times)
    return {
        "count": len(ordered),
        "p50_ms": round(statistics.median(ordered), 1),
        "max_ms": round(ordered[-1], 1),
    }


async def _throughput(
    on: Side, off: Side, owned: Sequence[Owned], plan: Plan, progress: Progress
) -> dict[str, Any]:
    """Tokens per second of all streams together, the sides by turns in random order."""
    mixed = list(owned[: plan.batch])
    more = list(owned[: plan.places])
    base = [Owned(one.ctx, _BASE) for one in owned[: plan.streams]]
    sides: dict[str, Callable[[], Awaitable[float]]] = {
        "base only, adapters off": lambda: _rate(off, base, plan),
        "base only, adapters on": lambda: _rate(on, base, plan),
        "one adapter": lambda: _rate(on, owned[:1], plan),
        f"{len(mixed)} adapters, as fit a batch": lambda: _rate(on, mixed, plan),
        f"{len(more)} adapters, more than fit": lambda: _rate(on, more, plan),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for name in sides:  # what has to be loaded is
        await sides[name]()
    for number in range(plan.rounds):
        progress(f"throughput: round {number + 1} of {plan.rounds}")
        for name in random.sample(list(sides), len(sides)):
            rates[name].append(await sides[name]())
    control = rates["base only, adapters off"]
    return {
        name: {
            "tokens_per_second": round(statistics.median(measured), 1),
            "of_base_only_off": round(ratio_of_rounds(measured, control), 3),
        }
        for name, measured in rates.items()
    }


async def _rate(side: Side, owned: Sequence[Owned], plan: Plan) -> float:
    begun = time.perf_counter()
    asked = (side.ask(owned[n % len(owned)], _WORDS, plan.tokens) for n in range(plan.streams))
    answers = await asyncio.gather(*asked)
    return sum(answer.tokens for answer in answers) / (time.perf_counter() - begun)


def guessed_seconds(plan: Plan) -> float:
    """How long a run takes on two quiet cores, about (SmolLM2-135M)."""
    answers = plan.first_tokens * (5 + plan.batch) * 0.15
    batches = (plan.rounds + 1) * 5 * plan.streams * plan.tokens / 60
    held = plan.pressure.seconds * (3 + len(plan.pressure.registered))
    return 90 + answers + batches + held + 0.06 * max(plan.pressure.registered)
