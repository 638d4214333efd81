"""What evicting costs, on SGLang's own pools: `python -m serving.engine_plugin.measure_eviction`.

Prints JSON. Runs in the engine's environment. The pool is full of prefixes of as many tokens each,
and every new one makes the oldest go: SGLang's `RadixCache` and the tenants' tree, in turns.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from array import array
from typing import Any

from serving.engine_plugin.cpu import allow_torchvision_without_cuda

_TENANTS, _TOKENS, _ROUNDS = 20, 64, 400


def main() -> None:
    """Measure for each number of leaves that the command line names."""
    allow_torchvision_without_cuda()
    rows = [_row(int(leaves)) for leaves in sys.argv[1:]]
    json.dump({"tenants": _TENANTS, "tokens_per_prefix": _TOKENS, "rows": rows}, sys.stdout)


def _row(leaves: int) -> dict[str, Any]:
    trees = {"stock": _filled(leaves, stock=True), "tenants": _filled(leaves, stock=False)}
    seconds: dict[str, list[float]] = {name: [] for name in trees}
    for number in range(_ROUNDS):
        for name, tree in trees.items():  # in turns: both see the same moments of the machine
            seconds[name].append(_made_room_and_filled(tree, leaves + number))
    row: dict[str, Any] = {"leaves": leaves}
    for name, taken in seconds.items():
        # The tenants' tree frees more at once, and then nothing for a while: so not the median.
        row[f"{name}_us"] = round(1e6 * statistics.mean(taken), 1)
        row[f"{name}_longest_us"] = round(1e6 * max(taken), 1)
    return row


def _filled(leaves: int, *, stock: bool) -> Any:
    import torch
    from sglang.srt.mem_cache.allocator.token import TokenToKVPoolAllocator
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.radix_cache import RadixCache

    from serving.engine_plugin.tenant_cache import TenantRadixCache

    allocator = TokenToKVPoolAllocator(
        leaves * _TOKENS, dtype=torch.float32, device="cpu", kvcache=None, need_sort=False
    )
    params = CacheInitParams(
        disable=False,
        req_to_token_pool=None,
        token_to_kv_pool_allocator=allocator,
        page_size=1,
    )
    tree = (RadixCache if stock else TenantRadixCache)(params)
    for number in range(leaves):
        _insert(tree, number)
    return tree


def _made_room_and_filled(tree: Any, number: int) -> float:
    """Seconds until there was room for one more prefix, as SGLang's scheduler makes it."""
    from sglang.srt.mem_cache.base_prefix_cache import EvictParams

    begun = time.perf_counter()
    missing = _TOKENS - tree.token_to_kv_pool_allocator.available_size()
    if missing > 0:
        tree.evict(EvictParams(num_tokens=missing))
    taken = time.perf_counter() - begun
    if tree.token_to_kv_pool_allocator.available_size() < _TOKENS:
        raise RuntimeError("there was to be room for a prefix")
    _insert(tree, number)
    return taken


def _insert(tree: Any, number: int) -> None:
    from sglang.srt.mem_cache.base_prefix_cache import InsertParams
    from sglang.srt.mem_cache.radix_cache import RadixKey

    from serving.engine_plugin.claims import Claims, KvPolicy

    tenant = f"tenant-{number % _TENANTS}"
    if hasattr(tree, "enter"):
        claims = Claims("tenant", "", "", "", "", 0, "", tenant, "", tenant, policy=KvPolicy())
        tree.enter(claims)
    tokens = array("q", range(number * _TOKENS, (number + 1) * _TOKENS))
    slots = tree.token_to_kv_pool_allocator.alloc(_TOKENS)
    tree.insert(InsertParams(key=RadixKey(tokens, cache_salt=tenant), value=slots))


if __name__ == "__main__":
    main()
