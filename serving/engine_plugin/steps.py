"""The scheduler's steps: every row of a batch is checked, and its cost is counted."""

from __future__ import annotations

from typing import Any

from serving.engine_plugin import gauges, hooks, rows
from serving.engine_plugin.stopwatch import RequestWatch, Row, StepMeter

_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
meter = StepMeter()


def register() -> None:
    """Register the hooks.

    Raises:
        MissingTargetError: this SGLang lacks a place.
    """
    hooks.around(f"{_SCHEDULER}.get_next_batch_to_run", ("self",), _next)
    hooks.around(f"{_SCHEDULER}.run_batch", ("self", "batch"), _run)
    hooks.around(f"{_SCHEDULER}.process_batch_result", ("self", "batch", "result"), _process)


def watch_of(request: Any) -> RequestWatch:
    """The watch of an admitted request, begun when it was."""
    watch: RequestWatch = request.bulkhead_watch
    return watch


def _next(original: hooks.Hook, scheduler: Any, *args: Any, **kwargs: Any) -> Any:
    meter.woke()
    plan = original(scheduler, *args, **kwargs)
    if plan.batch_to_run is None and not meter.busy:
        meter.idle()
    return plan


def _run(original: hooks.Hook, scheduler: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
    rows.require_own(batch)
    meter.begin(_rows(batch))
    return original(scheduler, batch, *args, **kwargs)


def _process(original: hooks.Hook, scheduler: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return original(scheduler, *args, **kwargs)
    finally:
        meter.end()
        gauges.update(scheduler, meter.busy_seconds)


def _rows(batch: Any) -> list[Row]:
    prefills = batch.forward_mode.is_extend()
    tokens = batch.extend_lens if prefills else [1] * len(batch.reqs)
    return [
        Row(watch_of(request), count, request.kv.kv_allocated_len, decodes=not prefills)
        for request, count in zip(batch.reqs, tokens, strict=True)
    ]
