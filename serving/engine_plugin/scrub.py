"""KV slots are zeroed the moment they are freed, before anybody can be given them.

All of SGLang's paths that free (finish, abort, retraction, eviction, flush, a disconnect) end in
the allocator, so that is where it happens. Freed inside `scrubbing(False)` they keep their
content: for tenants whose policy says so. Whatever has no owner is zeroed.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from serving.engine_plugin import hooks
from serving.engine_plugin.admission import claims_of

_TOKENS = "sglang.srt.mem_cache.allocator.token.TokenToKVPoolAllocator"
_PAGES = "sglang.srt.mem_cache.allocator.paged.PagedTokenToKVPoolAllocator"
_BASE = "sglang.srt.mem_cache.allocator.base.BaseTokenToKVPoolAllocator"
_RELEASE = "sglang.srt.mem_cache.common.release_kv_cache"
_wanted = True
_forced = False


def register() -> None:
    """Register the hooks of both allocators.

    Raises:
        MissingTargetError: this SGLang lacks a place.
    """
    hooks.around(f"{_TOKENS}.free", ("self", "free_index"), _free)
    hooks.around(f"{_PAGES}.free", ("self", "free_index"), _free)
    hooks.around(f"{_PAGES}.free_page_ids", ("self", "page_ids"), _free_pages)
    for allocator in (_TOKENS, _PAGES):
        hooks.around(f"{allocator}.clear", ("self",), _clear)
    for allocator in (_BASE, _PAGES):
        hooks.around(f"{allocator}.free_group_end", ("self",), _end_group)
    hooks.around(_RELEASE, ("req", "tree_cache"), _release)


@contextmanager
def scrubbing(wanted: bool) -> Generator[None, None, None]:
    """Whether what is freed inside is zeroed."""
    global _wanted
    before, _wanted = _wanted, wanted or _forced
    try:
        yield
    finally:
        _wanted = before


@contextmanager
def forcing() -> Generator[None, None, None]:
    """All that is freed inside is zeroed, whatever its owner's policy says."""
    global _forced
    before, _forced = _forced, True
    try:
        yield
    finally:
        _forced = before


def layers(kv: Any) -> list[Any]:
    """The pool's tensors, the slot first in each.

    Raises:
        AttributeError: a layout that is not known, and could not be zeroed.
    """
    if hasattr(kv, "k_buffer"):
        return [*kv.k_buffer, *kv.v_buffer]
    return list(kv.kv_buffer)


def audit(allocator: Any) -> dict[str, int]:
    """Read every free slot: how many there are, and how many hold anything but zeros."""
    import torch

    slots = _slots_of_pages(allocator, allocator.get_all_free_pages())
    dirty = torch.zeros(len(slots), dtype=torch.bool, device=slots.device)
    for layer in layers(allocator.get_kvcache()):
        dirty |= layer[slots].flatten(1).ne(0).any(dim=1)
    return {"free": len(slots), "dirty": int(dirty.sum())}


def _free(original: hooks.Hook, allocator: Any, free_index: Any) -> Any:
    if _wanted and free_index.numel():
        slots = free_index.long()
        if allocator.page_size > 1:
            slots = _slots_of_pages(allocator, (slots // allocator.page_size).unique())
        _zero(allocator, slots)
    return original(allocator, free_index)


def _free_pages(original: hooks.Hook, allocator: Any, page_ids: Any) -> Any:
    if _wanted and page_ids.numel():
        _zero(allocator, _slots_of_pages(allocator, page_ids.long()))
    return original(allocator, page_ids)


def _end_group(original: hooks.Hook, allocator: Any) -> Any:
    # What a group held back was zeroed, or not, when it was freed.
    with scrubbing(False):
        return original(allocator)


def _clear(original: hooks.Hook, allocator: Any) -> Any:
    # An allocator clears itself when it is made, too: its pool is new then.
    if _wanted and allocator.free_pages is not None:
        for layer in layers(allocator.get_kvcache()):
            layer.zero_()
    return original(allocator)


def _release(original: hooks.Hook, req: Any, tree_cache: Any, *args: Any, **kwargs: Any) -> Any:
    with scrubbing(claims_of(req).policy.scrub):
        return original(req, tree_cache, *args, **kwargs)


def _zero(allocator: Any, slots: Any) -> None:
    for layer in layers(allocator.get_kvcache()):
        layer.index_fill_(0, slots, 0)


def _slots_of_pages(allocator: Any, pages: Any) -> Any:
    import torch

    size = allocator.page_size
    if size == 1:
        return pages
    return (pages[:, None] * size + torch.arange(size, device=pages.device)).reshape(-1)
