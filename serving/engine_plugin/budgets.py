"""Hooks that make SGLang's scheduler respect tenants' budgets."""

from __future__ import annotations

from typing import Any

from serving.engine_plugin import hooks

BACKEND = "bulkhead"
_ALLOCATOR = "sglang.srt.mem_cache.allocator.base.BaseTokenToKVPoolAllocator"


def register() -> None:
    """Register the cache under `BACKEND`, and what its budgets need of the scheduler.

    Raises:
        MissingTargetError: this SGLang lacks a place.
    """
    from sglang.srt.mem_cache.registry import register_radix_cache_backend

    register_radix_cache_backend(BACKEND, _cache)
    hooks.around(
        f"{_ALLOCATOR}.create_prefill_budget", ("self", "tree_cache"), _budget_without_reserved
    )


def _cache(context: Any) -> Any:
    from serving.engine_plugin.tenant_cache import TenantRadixCache

    hooks.require_in_force()
    if context.is_hybrid_swa or context.is_hybrid_ssm or context.enable_hierarchical_cache:
        hooks.refuse_to_serve("tenants' budgets need plain attention and no hierarchical cache")
    return TenantRadixCache(context.params)


def _budget_without_reserved(
    original: hooks.Hook, allocator: Any, tree_cache: Any, **kwargs: Any
) -> Any:
    """A request is admitted on what can be evicted for it: what is reserved cannot."""
    budget = original(allocator, tree_cache, **kwargs)
    budget._available_and_evictable = lambda: (
        allocator.available_size() + tree_cache.reclaimable_size()
    )
    return budget
