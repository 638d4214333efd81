"""An adapter's weights leave with it: the engine's buffers, the host's copies, and its KV.

SGLang zeroes a buffer's slot when its adapter is unloaded. An adapter that gives its slot to
another one is overwritten only as far as the other's rank goes, and the host's copies are dropped
as they are. Temporary copies of a load are the allocator's, and out of reach.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from serving.engine_plugin import hooks

# Set by the launcher. Off, slots and copies are left as SGLang leaves them.
SCRUBS = "BULKHEAD_ENGINE_SCRUB_ADAPTERS"
_POOL = "sglang.srt.lora.mem_pool.LoRAMemoryPool"
_MANAGER = "sglang.srt.lora.lora_manager.LoRAManager"
_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
_TENSORS = ("embedding_layers", "added_tokens_embeddings")


def register() -> None:
    """Register the hooks.

    Raises:
        MissingTargetError: this SGLang lacks a place.
    """
    loaded = ("self", "uid", "buffer_id", "lora_adapter")
    hooks.around(f"{_POOL}.load_lora_weight_to_buffer", loaded, _load)
    hooks.around(f"{_POOL}.remove_lora", ("self", "uid"), _remove)
    hooks.around(f"{_MANAGER}.unload_lora_adapter", ("self", "lora_ref"), _unload)
    hooks.around(f"{_SCHEDULER}.unload_lora_adapter", ("self", "recv_req"), _forget_prefixes)


def audit(scheduler: Any) -> dict[str, int]:
    """Read all adapter slots. host: adapters in host memory. held: slots that hold anything. dirty:
    slots that hold what is not their adapter's."""
    manager = scheduler.tp_worker.model_runner.lora_manager
    if manager is None:
        return {"host": 0, "held": 0, "dirty": 0}
    pool = manager.memory_pool
    slots = range(pool.max_loras_per_batch)
    return {
        "host": len(manager.loras),
        "held": sum(_holds(pool, slot, 0) for slot in slots),
        "dirty": sum(_holds(pool, slot, _rank(manager, slot)) for slot in slots),
    }


def _load(original: hooks.Hook, pool: Any, uid: Any, slot: int, *args: Any, **kwargs: Any) -> Any:
    if not _scrubs():
        return original(pool, uid, slot, *args, **kwargs)
    _zero(pool, slot)
    try:
        return original(pool, uid, slot, *args, **kwargs)
    except BaseException:
        # Cut short, it would stay in a slot that counts as empty.
        _zero(pool, slot)
        raise


def _remove(original: hooks.Hook, pool: Any, uid: Any) -> Any:
    slot = original(pool, uid)
    if slot is not None and _scrubs():
        _zero(pool, slot)
    return slot


def _unload(original: hooks.Hook, manager: Any, ref: Any) -> Any:
    adapter = manager.loras.get(ref.lora_id)
    result = original(manager, ref)
    if adapter is not None and ref.lora_id not in manager.loras and _scrubs():
        for tensor in host_tensors(adapter):
            tensor.zero_()
    return result


def _forget_prefixes(original: hooks.Hook, scheduler: Any, received: Any) -> Any:
    """No later request can hit them: the next load of the same adapter has another namespace."""
    result = original(scheduler, received)
    if result.success:
        scheduler.tree_cache.forget_adapter(received.lora_name)
    return result


def host_tensors(adapter: Any) -> Iterator[Any]:
    """All that SGLang's `LoRAAdapter` keeps of its weights."""
    for layer in adapter.layers:
        yield from layer.weights.values()
        yield from layer.pinned_weights.values()
    for name in _TENSORS:
        yield from getattr(adapter, name).values()
        yield from getattr(adapter, f"pinned_{name}").values()


def _scrubs() -> bool:
    return os.environ.get(SCRUBS) != "off"


def _zero(pool: Any, slot: int) -> None:
    for tensor, _ in _buffers(pool):
        tensor[slot].zero_()


def _rank(manager: Any, slot: int) -> int:
    """The rank of the adapter in a slot; 0 for the base model, and for nothing."""
    adapter = manager.loras.get(manager.memory_pool.buffer_id_to_uid[slot])
    return adapter.config.r if adapter is not None else 0


def _holds(pool: Any, slot: int, rank: int) -> bool:
    """Whether a slot holds anything beyond an adapter of this rank. `slot` is the first dimension;
    A's rank, times its stacked modules, is the last but one and B's the last one."""
    for tensor, is_a in _buffers(pool):
        dimension = tensor.dim() - (3 if is_a else 2)
        size = tensor[slot].shape[dimension]
        own = rank * (size // pool.max_lora_rank)
        if tensor[slot].narrow(dimension, own, size - own).count_nonzero():
            return True
    return False


def _buffers(pool: Any) -> Iterator[tuple[Any, bool]]:
    """Each buffer, and whether it is an A.

    Raises:
        AttributeError: a layout that is not known, and could not be zeroed.
    """
    for a, buffers in ((True, pool.A_buffer), (False, pool.B_buffer)):
        for layers in buffers.values():
            yield from ((tensor, a) for tensor in layers)
    for a, tensors in (
        (True, pool.embedding_A_buffer),
        (False, pool.embedding_B_buffer),
        (True, pool.lm_head_A_buffer),
        (False, pool.lm_head_B_buffer),
    ):
        yield from ((tensor, a) for tensor in tensors.values())
