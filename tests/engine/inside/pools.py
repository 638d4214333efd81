"""SGLang's memory pools, small, and requests on them without a model."""

# ruff: noqa: E402

from __future__ import annotations

import itertools
from array import array
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from serving.engine_plugin.cpu import allow_torchvision_without_cuda

allow_torchvision_without_cuda()

import torch
from sglang.srt.mem_cache.allocator.token import TokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import InsertParams, MatchPrefixParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool
from sglang.srt.mem_cache.radix_cache import RadixCache, RadixKey

from serving.engine_plugin.claims import Claims, KvPolicy
from serving.engine_plugin.tenant_cache import TenantRadixCache


def kv_pool(size: int) -> Any:
    """Two layers of one head of four floats."""
    return MHATokenToKVPool(
        size=size,
        page_size=1,
        dtype=torch.float32,
        head_num=1,
        head_dim=4,
        layer_num=2,
        device="cpu",
        enable_memory_saver=False,
    )


def claims(account: str, namespace: str = "", policy: KvPolicy | None = None) -> Claims:
    return Claims(
        role="tenant",
        worker="w",
        route="",
        body="",
        request_id="",
        expires=0,
        nonce="",
        namespace=namespace or f"ns-{account}",
        account=account,
        policy=policy or KvPolicy(),
    )


def key_of(tokens: list[int], namespace: str) -> Any:
    return RadixKey(array("q", tokens), cache_salt=namespace)


@dataclass
class Pools:
    """A tree over an allocator of `size` slots; `stock`: SGLang's own tree."""

    size: int
    stock: bool = False
    tree: Any = field(init=False)
    allocator: Any = field(init=False)
    kv: Any = field(init=False)

    def __post_init__(self) -> None:
        self.kv = kv_pool(self.size)
        self.allocator = TokenToKVPoolAllocator(
            self.size, dtype=torch.float32, device="cpu", kvcache=self.kv, need_sort=False
        )
        params = CacheInitParams(
            disable=False,
            req_to_token_pool=None,
            token_to_kv_pool_allocator=self.allocator,
            page_size=1,
        )
        self.tree = (RadixCache if self.stock else TenantRadixCache)(params)

    def insert(self, tokens: list[int], owner: Claims) -> int:
        """Put a prefix into the tree as a finished request does; how many tokens are new."""
        if not self.stock:
            self.tree.enter(owner)
        slots = self.allocate(len(tokens))
        result = self.tree.insert(InsertParams(key=key_of(tokens, owner.namespace), value=slots))
        self.allocator.free(slots[: result.prefix_len])
        return len(tokens) - result.prefix_len

    def allocate(self, count: int) -> torch.Tensor:
        """Free slots, for which others are evicted if it must be."""
        self.allocator.evict_to_free_tokens(self.tree, count)
        slots = self.allocator.alloc(count)
        if slots is None:
            raise MemoryError
        return slots

    def match(self, tokens: list[int], namespace: str) -> tuple[int, Any]:
        """How many tokens hit, and the node."""
        params = MatchPrefixParams(key=key_of(tokens, namespace))
        result = self.tree.match_prefix(params)
        return result.device_prefix_len, result.last_device_node


_ids = itertools.count(1)


def fresh(count: int) -> list[int]:
    """Tokens that nobody used before."""
    first = next(_ids) * 1_000_000
    return list(range(first, first + count))


def request(owner: Claims) -> Any:
    """What the tree reads of a request."""
    return SimpleNamespace(cache_salt=owner.namespace, bulkhead_claims=owner)
