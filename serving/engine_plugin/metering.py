"""How a request's cost leaves the engine: with its last output, or with the word that it ended."""

from __future__ import annotations

import json
from typing import Any

from serving.engine_plugin import hooks, preemptions, steps
from serving.engine_plugin.ledger import Ledger
from serving.engine_plugin.refusals import restore_statuses

_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
_TOKENIZER = "sglang.srt.managers.tokenizer_manager.TokenizerManager"
_KEY = "bulkhead"
# Of the HTTP process: the costs of requests that ended a moment ago.
ledger = Ledger()


def register() -> None:
    """Register the hooks of both processes.

    Raises:
        MissingTargetError: this SGLang lacks a place.
    """
    steps.register()
    preemptions.register()
    hooks.around(f"{_SCHEDULER}.get_output_streamer_class", ("self",), _metered_streamer)
    hooks.around(f"{_SCHEDULER}.send_abort_output", ("self", "abort_req", "req"), _abort_with_cost)
    hooks.around(f"{_TOKENIZER}._handle_batch_output", ("self", "recv_obj"), _take_costs)
    hooks.around(f"{_TOKENIZER}._handle_abort_req", ("self", "recv_obj"), _take_abort)


def _metered_streamer(original: hooks.Hook, scheduler: Any) -> type[Any]:
    base = original(scheduler)

    class MeteredStreamer(base):  # type: ignore[misc,valid-type]
        """Adds each finished request's cost to SGLang's output."""

        __slots__ = ()
        has_additional_customized_info = True

        def build_additional_customized_info(self, reqs: list[Any]) -> dict[str, list[Any]]:
            steps.meter.settle()
            return {_KEY: [[_cost(req)] if req.finished() else [] for req in reqs]}

        def is_request_level_customized_info_key(self, key: str) -> bool:
            return key == _KEY

    return MeteredStreamer


def _cost(request: Any) -> dict[str, Any]:
    return steps.watch_of(request).report(
        steps.meter.clock(),
        cached_tokens=request.cached_tokens,
        **preemptions.counts(request),
        worker_type=_worker_type(),
    )


def _worker_type() -> str:
    from sglang.srt.runtime_context import get_device

    return str(get_device().device)


def _abort_with_cost(
    original: hooks.Hook, scheduler: Any, abort: Any, request: Any, *args: Any
) -> Any:
    """Requests that end while they wait: what they cost before, if they were retracted."""
    if hasattr(request, "bulkhead_claims") and abort.finished_reason is None:
        abort.finished_reason = {"type": "abort", "message": "aborted"}
    if hasattr(request, "bulkhead_claims"):
        abort.finished_reason = abort.finished_reason | {_KEY: json.dumps(_cost(request))}
    return original(scheduler, abort, request, *args)


async def _take_costs(original: hooks.Hook, manager: Any, received: Any) -> Any:
    from sglang.srt.managers.io_struct import unwrap_from_pickle

    restore_statuses(received.finished_reasons)
    info = unwrap_from_pickle(getattr(received, "customized_info", None)) or {}
    costs = info.pop(_KEY, None)
    if costs is not None:
        received.customized_info = info or None
        for rid, cost in zip(received.rids, costs, strict=True):
            if cost:
                ledger.put(rid, cost[0])
    return await original(manager, received)


def _take_abort(original: hooks.Hook, manager: Any, received: Any) -> Any:
    restore_statuses([received.finished_reason])
    cost = (received.finished_reason or {}).pop(_KEY, None)
    if cost is not None:
        ledger.put(received.rid, json.loads(cost))
    return original(manager, received)
