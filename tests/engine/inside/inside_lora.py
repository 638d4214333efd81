"""Adapters on a CPU: a decoding step gives what SGLang's own backend gives, row by row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.inside.pools import kv_pool  # first: it prepares the process

import numba  # isort: skip
import torch  # isort: skip
from sglang.srt.lora.torch_ops import sgemm_lora_a_fwd, sgemm_lora_b_fwd  # isort: skip

from serving.engine_plugin import cpu_kernels, cpu_lora

assert kv_pool
SIZE, LARGEST, SLICES = 96, 8, 3
OFFSETS = torch.tensor([0, 40, 56, 72], dtype=torch.int32)
# Of each place in the engine: none in the first, as SGLang keeps it.
RANKS, SCALINGS = [0, 4, 8], [0.0, 2.0, 0.5]


def _never(*args: Any, **options: Any) -> None:
    raise AssertionError("a decoding step is not left to SGLang")


def _batch(adapters: list[int], counts: list[int]) -> Any:
    return SimpleNamespace(
        bs=len(adapters),
        use_cuda_graph=False,
        weight_indices_cpu=torch.tensor(adapters, dtype=torch.int32),
        seg_lens_cpu=torch.tensor(counts, dtype=torch.int32),
        lora_ranks_cpu=torch.tensor(RANKS, dtype=torch.int32),
        scalings_cpu=torch.tensor(SCALINGS),
    )


@pytest.fixture
def a() -> Any:
    torch.manual_seed(0)
    return torch.randn(len(RANKS), SLICES * LARGEST, SIZE)


@pytest.fixture
def b() -> Any:
    return torch.randn(len(RANKS), int(OFFSETS[-1]), LARGEST)


@pytest.mark.parametrize("adapters", [[1], [0], [1, 2, 0, 1], [2, 2, 1, 0, 0, 2, 1, 1]])
def test_a_decoding_step_is_as_sglangs(adapters: list[int], a: Any, b: Any) -> None:
    batch = _batch(adapters, [1] * len(adapters))
    rows, base = torch.randn(len(adapters), SIZE), torch.randn(len(adapters), int(OFFSETS[-1]))
    theirs = sgemm_lora_a_fwd(rows, a, batch, SLICES)
    ours = cpu_lora.shrink(_never, inputs=rows, weights=a, batch_info=batch, num_slices=SLICES)
    torch.testing.assert_close(ours, theirs)
    added = {"weights": b, "batch_info": batch, "slice_offsets": OFFSETS}
    wanted = sgemm_lora_b_fwd(theirs, **added, base_output=base.clone())
    into = base.clone()
    assert cpu_lora.expand(_never, ours, **added, base_output=into) is into
    torch.testing.assert_close(into, wanted)


def test_rows_of_one_adapter_that_sglang_took_together_are_told_apart(a: Any) -> None:
    rows = torch.randn(5, SIZE)
    apart = cpu_lora.shrink(_never, rows, a, _batch([2, 2, 1, 1, 1], [1] * 5), SLICES)
    together = _batch([2, 1], [2, 3])
    together.bs = 5
    assert torch.equal(cpu_lora.shrink(_never, rows, a, together, SLICES), apart)


def test_who_shares_the_batch_changes_no_bit_of_a_row(a: Any) -> None:
    rows = torch.randn(3, SIZE)
    alone = cpu_lora.shrink(_never, rows[:1], a, _batch([1], [1]), SLICES)
    among = cpu_lora.shrink(_never, rows, a, _batch([1, 2, 1], [1, 1, 1]), SLICES)
    assert torch.equal(among[:1], alone)


def test_a_slice_that_an_adapter_lacks_is_left_as_it_is(b: Any) -> None:
    batch, shrunken = _batch([2], [1]), torch.randn(1, SLICES * LARGEST)
    shrunken[:, LARGEST : 2 * LARGEST] = 0
    base = torch.randn(1, int(OFFSETS[-1]))
    into = cpu_lora.expand(_never, shrunken, b, batch, OFFSETS, base.clone())
    assert torch.equal(into[:, 40:56], base[:, 40:56])
    assert not torch.equal(into, base)


def test_a_prompt_is_left_to_sglang(a: Any, b: Any) -> None:
    left: list[str] = []
    batch, rows = _batch([1], [7]), torch.randn(7, SIZE)
    cpu_lora.shrink(lambda *given: left.append("a"), rows, a, batch, SLICES)
    cpu_lora.expand(lambda *given: left.append("b"), rows, b, batch, OFFSETS, rows)
    assert left == ["a", "b"]


def test_the_kernel_is_vectorized() -> None:
    compiled = numba.njit(cpu_kernels.lora_shrink.signatures, fastmath=True)(
        cpu_kernels.lora_shrink.py_func
    )
    (assembly,) = compiled.inspect_asm().values()
    assert "ymm" in assembly or "zmm" in assembly or "fmla" in assembly
