"""Requests displaced for one of a higher priority, counted apart from those that lack memory.

SGLang takes both out of the batch in the same way, and counts them in one number
(`retraction_count`).
"""

from __future__ import annotations

from typing import Any

from serving.engine_plugin import hooks, steps

_ADDER = "sglang.srt.managers.schedule_policy.PrefillAdder"


def register() -> None:
    """Register the hook.

    Raises:
        MissingTargetError: this SGLang lacks the place.
    """
    hooks.around(f"{_ADDER}.preempt_to_schedule", ("self", "req"), _preempt)


def counts(request: Any) -> dict[str, int]:
    """How often it was preempted, and how often retracted."""
    preemptions = steps.watch_of(request).cost.preemptions
    return {
        "preemptions": preemptions,
        "retractions": request.retraction_count - preemptions,
    }


def _preempt(original: hooks.Hook, adder: Any, request: Any) -> Any:
    before = len(adder.preempt_list)
    committed = original(adder, request)
    for displaced in adder.preempt_list[before:]:
        steps.watch_of(displaced).cost.preemptions += 1
    return committed
