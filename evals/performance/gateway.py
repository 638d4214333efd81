"""What the gateway adds to a request: the same stub called directly, and through `bulkhead serve`.

Retrieval and masking are off, all else is on: keys, admission in Valkey, the fair queue,
namespaces, link guard, usage ledger, metrics and log. Direct and gateway rounds alternate, so that
a machine
that slows down slows both; ratios of one run are what to compare.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evals.performance.deployment import deployed
from evals.performance.load import Load, Round, Target, run

_ROUNDS = 3
_WARM_UP = 64
CONCURRENCIES = (1, 32)

# LiteLLM's proxy 1.106.2 with one worker, before a stub of 16 tokens, on a machine of this kind.
# Measured elsewhere, not in this run: for orientation only.
LITELLM: dict[str, Any] = {
    "version": "1.106.2",
    "measured_in_this_run": False,
    "added_p50_ms_at_1": {"plain": 15.0, "streamed": 33.0},
    "requests_per_second_at_32": {"plain": 70.0, "streamed": 31.0},
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one side. Milliseconds; requests per second of the median round."""

    p50_ms: float
    p99_ms: float
    requests_per_second: float


async def measure(
    requests: int, model: Path | None, progress: Callable[[str, int], object]
) -> dict[str, Any]:
    """All figures. `requests`: of each side of each cell, over all rounds.

    model: a model's folder, to count tokens with its tokenizer; without it, bytes are counted.
    progress: told the cell, and how many more requests are done.

    Raises:
        LoadError: a request failed.
        StartupError: gateway or stub do not start.
    """
    settings = {"RETRIEVAL": "off", "MASKING": "off", "ENGINE_SLOTS": "64"}
    if model is not None:
        settings["MODEL_PATH"] = str(model)
    with tempfile.TemporaryDirectory() as folder, deployed(Path(folder), settings) as deployment:
        sides = {"direct": deployment.direct, "gateway": deployment.gateway}
        cells = []
        for stream in (False, True):
            for concurrency in CONCURRENCIES:
                load = Load(max(requests // _ROUNDS, 1), concurrency, stream)
                cells.append(await _cell(sides, load, progress))
        return {
            "measure": "added latency and throughput of the gateway",
            "off": ["retrieval", "masking"],
            "token_counter": "the model's tokenizer" if model is not None else "bytes",
            "placement": deployment.placement,
            "cells": cells,
            "litellm_reference": LITELLM,
        }


def planned(requests: int) -> int:
    """How many requests `measure` sends, warm-up included."""
    return 4 * 2 * (_WARM_UP + _ROUNDS * max(requests // _ROUNDS, 1))


async def _cell(
    sides: dict[str, Target], load: Load, progress: Callable[[str, int], object]
) -> dict[str, Any]:
    name = f"{'streamed' if load.stream else 'plain'}, concurrency {load.concurrency}"

    def done(count: int) -> None:
        progress(name, count)

    rounds: dict[str, list[Round]] = {side: [] for side in sides}
    for target in sides.values():
        await run(target, Load(_WARM_UP, load.concurrency, load.stream), done)
    for _ in range(_ROUNDS):
        for side, target in sides.items():
            rounds[side].append(await run(target, load, done))
    figures = {side: _figures(of_side) for side, of_side in rounds.items()}
    return {
        "stream": load.stream,
        "concurrency": load.concurrency,
        "requests_per_side": _ROUNDS * load.requests,
        **{side: asdict(of_side) for side, of_side in figures.items()},
        "added_p50_ms": round(figures["gateway"].p50_ms - figures["direct"].p50_ms, 2),
        "added_p99_ms": round(figures["gateway"].p99_ms - figures["direct"].p99_ms, 2),
    }


def _figures(rounds: list[Round]) -> Figures:
    latencies = sorted(latency for one in rounds for latency in one.latencies)
    rates = [len(one.latencies) / one.seconds for one in rounds]
    return Figures(
        p50_ms=round(1000 * latencies[len(latencies) // 2], 2),
        p99_ms=round(1000 * latencies[len(latencies) * 99 // 100], 2),
        requests_per_second=round(statistics.median(rates), 1),
    )
