"""How long analysis keeps an event loop from its other work: in a process, and on a thread.

`python -m evals.privacy.stalls` measures it in a process of its own, which has loaded no model, as
a gateway has not: two models on the heap make a garbage collection longer than any analysis.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import time
from typing import Any

from evals.privacy.alone import alone
from isolation.guard.links import LinkGuard
from isolation.masking.detector import PresidioDetector
from isolation.masking.entities import VERSION
from isolation.masking.findings import Analyzer
from isolation.masking.masker import Masker
from isolation.masking.policy import StandardPolicies
from isolation.masking.threaded import Threaded
from isolation.masking.workers import DetectorWorkers
from isolation.streaming import Chain
from isolation.testing.contexts import tenant_for_tests

_STREAMS, _TURNS = 8, 25
_TICK = 0.001
_TEXT = (
    "Hello, my name is Maria Lopez and I ordered a tent two weeks ago. It should be sent to "
    "24 Elm Street in Denver, CO 80279, but nothing has come. Please call me on +1 303 555 "
)


def measured() -> dict[str, Any]:
    """`measure`, in a process of its own."""
    return alone(__name__)


async def measure() -> dict[str, Any]:
    """Gaps between the ticks of a loop while 8 streams have turns of 200 characters masked and
    answers restored."""
    workers = await DetectorWorkers.start(1)
    # As a gateway does when it has started (`serving.cli.main`).
    gc.freeze()
    idle = await _gaps(asyncio.sleep(0.5))
    in_process = await _gaps(_busy(workers))
    await workers.close()
    # Last: what it loads stays.
    threaded = Threaded(PresidioDetector(), VERSION)
    on_thread = await _gaps(_busy(threaded))
    threaded.close()
    return {
        "streams": _STREAMS,
        "turns_of_each": _TURNS,
        "idle": idle,
        "on_a_thread": on_thread,
        "in_a_process": in_process,
    }


async def _busy(analyzer: Analyzer) -> None:
    """Every turn is masked, and an answer restored and guarded, a word at a time."""
    masker, guard = Masker(analyzer, StandardPolicies()), LinkGuard()
    ctx = tenant_for_tests("bench")

    async def stream(number: int) -> None:
        for turn in range(_TURNS):
            masked = await masker.mask(ctx, [f"{_TEXT}{number:02}{turn:02}."])
            out = Chain([masked.vault.answer(ctx), guard.stream()])
            names = masked.vault.names(ctx)
            for word in f"{masked.texts[0]} {masked.texts[0]}".split(" "):
                await names.feed(out.feed(f"{word} "))
                await asyncio.sleep(0)
            await names.feed(out.flush())
            await names.flush()

    await asyncio.gather(*(stream(number) for number in range(_STREAMS)))


async def _gaps(work: Any) -> dict[str, Any]:
    """Milliseconds that a tick of one came late, while `work` was awaited."""
    late: list[float] = []
    task = asyncio.ensure_future(work)
    while not task.done():
        begun = time.perf_counter()
        await asyncio.sleep(_TICK)
        late.append((time.perf_counter() - begun - _TICK) * 1000)
    await task
    return {
        "max_gap_ms": round(max(late), 2),
        "p99_gap_ms": round(statistics.quantiles(late, n=100)[98], 2),
        "ticks": len(late),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure())))
