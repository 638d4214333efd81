"""The CPU's attention gives what SGLang's own gives, on SGLang's own pools."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.inside.pools import kv_pool  # first: it prepares the process

import torch  # isort: skip
from sglang.srt.layers.attention.torch_native_backend import (  # isort: skip
    TorchNativeAttnBackend,
)

from serving.engine_plugin import cpu_attention

HEADS, KV_HEADS, SIZE, SLOTS = 6, 2, 16, 400
LENGTHS = [1, 7, 130]
assert kv_pool


def _never(*args: Any, **options: Any) -> None:
    raise AssertionError("the plain case is not left to SGLang")


@pytest.fixture
def pool() -> dict[str, Any]:
    torch.manual_seed(0)
    table = torch.stack([torch.randperm(SLOTS) for _ in LENGTHS]).to(torch.int32)
    keys, values = torch.randn(2, SLOTS, KV_HEADS, SIZE)
    return {
        "k_cache": keys,
        "v_cache": values,
        "req_to_token": table,
        "req_pool_indices": torch.tensor([2, 0, 1]),
        "seq_lens": torch.tensor(LENGTHS),
    }


def _both(name: str, hook: Any, query: Any, pool: dict[str, Any], **options: Any) -> Any:
    backend = object.__new__(TorchNativeAttnBackend)
    theirs, ours = torch.empty_like(query), torch.empty_like(query)
    options |= {"scaling": 0.2, "enable_gqa": True}
    getattr(backend, name)(query, theirs, *pool.values(), **options)
    hook(_never, query, ours, *pool.values(), **options)
    return theirs, ours


def test_decoding_attends_as_sglang_does(pool: dict[str, Any]) -> None:
    query = torch.randn(len(LENGTHS), HEADS, SIZE)
    theirs, ours = _both("_run_sdpa_forward_decode", cpu_attention.decode, query, pool)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("prefixes", [[0, 0, 0], [0, 3, 100], [0, 6, 129]])
def test_a_prompt_attends_as_sglang_does(pool: dict[str, Any], prefixes: list[int]) -> None:
    counts = [length - prefix for length, prefix in zip(LENGTHS, prefixes, strict=True)]
    pool |= {
        "extend_prefix_lens": torch.tensor(prefixes),
        "extend_seq_lens": torch.tensor(counts),
    }
    query = torch.randn(sum(counts), HEADS, SIZE)
    theirs, ours = _both("_run_sdpa_forward_extend", cpu_attention.extend, query, pool, causal=True)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("option", [{"sliding_window_size": 4}, {"is_cross_attn": True}])
def test_what_is_not_plain_is_left_to_sglang(pool: dict[str, Any], option: Any) -> None:
    query = torch.randn(len(LENGTHS), HEADS, SIZE)
    left: list[Any] = []
    cpu_attention.decode(
        lambda *args, **options: left.append(options), query, query, *pool.values(), **option
    )
    assert left == [option]
