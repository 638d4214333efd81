"""What masking's workers take: to start, to be replaced, and of memory.

`python -m evals.privacy.workers` measures it in a process of its own, which has loaded no model.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import Any

import psutil

from evals.privacy.alone import alone
from isolation.masking.workers import DetectorWorkers

_WORKERS, _DEATHS = 2, 10
_TEXT = "My name is Maria Lopez, maria.lopez@example.com."


def measured() -> dict[str, Any]:
    """`measure`, in a process of its own."""
    return alone(__name__)


async def measure() -> dict[str, Any]:
    """Seconds until two workers are ready; how much longer the first request after a worker's death
    takes than others do; and memory in MiB: of the process that loads, and of each worker alone."""
    begun = time.perf_counter()
    workers = await DetectorWorkers.start(_WORKERS)
    ready = time.perf_counter() - begun
    usual = [await _asked(workers) for _ in range(5 * _DEATHS)]
    (loaded,) = psutil.Process().children()
    memory = {
        "loaded": _mib(loaded.memory_info().rss),
        "own_of_each": sorted(_mib(each.memory_full_info().uss) for each in loaded.children()),
    }
    after = [await _asked_after_a_death(workers) for _ in range(_DEATHS)]
    await workers.close()
    return {
        "workers": _WORKERS,
        "ready_seconds": round(ready, 2),
        "replaced_ms": {
            "median": round(statistics.median(after) - statistics.median(usual), 1),
            "max": round(max(after) - statistics.median(usual), 1),
            "of": _DEATHS,
        },
        "memory_mib": memory,
    }


async def _asked(workers: DetectorWorkers) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    await workers.find(_TEXT, None)
    return (time.perf_counter() - begun) * 1000


async def _asked_after_a_death(workers: DetectorWorkers) -> float:
    gone = psutil.Process(workers.pids[0])
    gone.kill()
    await asyncio.to_thread(gone.wait, 30)
    await asyncio.sleep(0.05)  # its socket's end is read by now
    return await _asked(workers)


def _mib(size: int) -> int:
    return round(size / 2**20)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure())))
