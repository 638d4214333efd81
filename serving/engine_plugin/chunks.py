"""A prompt is cut finer while others' answers run: each of them waits for a chunk at a time.

SGLang has one size for all chunks. Alone, a prompt is fastest in large ones, since each chunk reads
all weights; beside a running answer a large one is the time that the answer stands still.
"""

from __future__ import annotations

import os
from typing import Any

from serving.engine_plugin import hooks

# Set by the launcher: tokens; 0: no smaller chunks.
SHARED = "BULKHEAD_ENGINE_SHARED_CHUNK"
_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"


def register() -> None:
    """Register the hook.

    Raises:
        MissingTargetError: this SGLang lacks a place.
    """
    hooks.around(f"{_SCHEDULER}.get_new_batch_prefill", ("self", "running_batch"), _prefill)


def _prefill(
    original: hooks.Hook, scheduler: Any, running_batch: Any, *args: Any, **kwargs: Any
) -> Any:
    whole = scheduler.chunked_prefill_size
    shared = int(os.environ.get(SHARED, "0"))
    if not whole or not shared or running_batch.is_empty():
        return original(scheduler, running_batch, *args, **kwargs)
    scheduler.chunked_prefill_size = min(whole, shared)
    try:
        return original(scheduler, running_batch, *args, **kwargs)
    finally:
        scheduler.chunked_prefill_size = whole
