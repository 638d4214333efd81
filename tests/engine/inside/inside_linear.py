"""Weights of eight bits on a CPU: what is computed, and that a row's result is its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.inside.pools import kv_pool  # first: it prepares the process

import torch  # isort: skip

from serving.engine_plugin import cpu_kernels, cpu_linear

assert kv_pool
IN, OUT = 96, 40


@pytest.fixture
def layer() -> Any:
    torch.manual_seed(0)
    return SimpleNamespace(weight=torch.nn.Parameter(torch.randn(OUT, IN), requires_grad=False))


def _never(*args: Any, **options: Any) -> None:
    raise AssertionError("few rows are not left to SGLang")


@pytest.mark.parametrize("count", [1, 4, 7, 16])
def test_few_rows_are_multiplied_by_the_rounded_weights(layer: Any, count: int) -> None:
    x, bias = torch.randn(count, IN), torch.randn(OUT)
    values, scales = map(torch.from_numpy, cpu_linear.rounded(layer.weight))
    wanted = x @ (values * scales[:, None]).T + bias
    torch.testing.assert_close(cpu_linear._apply(_never, None, layer, x, bias), wanted)
    # Off by at most half of a step.
    assert ((values * scales[:, None] - layer.weight).abs() <= scales[:, None] * 0.5001).all()


def test_a_prompts_rows_meet_the_exact_weights(layer: Any) -> None:
    left: list[Any] = []
    x = torch.randn(17, IN)
    cpu_linear._apply(lambda method, layer, x, bias: left.append(x), None, layer, x)
    assert left == [x]


def test_who_shares_the_batch_changes_no_bit_of_a_row(layer: Any) -> None:
    x = torch.randn(8, IN)
    together = cpu_linear.linear(x, layer)
    others = torch.cat((x[:4], 1_000 * torch.randn(4, IN)))
    assert torch.equal(cpu_linear.linear(others, layer)[:4], together[:4])


def test_changed_weights_are_rounded_anew(layer: Any) -> None:
    x = torch.randn(1, IN)
    before = cpu_linear.linear(x, layer)
    layer.weight.mul_(2)
    torch.testing.assert_close(cpu_linear.linear(x, layer), 2 * before)


def test_the_head_over_the_vocabulary_is_one_of_them() -> None:
    from sglang.srt.layers.logits_processor import LogitsProcessor

    head = type("ParallelLMHead", (), {})()
    head.weight = torch.nn.Parameter(torch.randn(OUT, IN), requires_grad=False)
    states = torch.randn(2, IN)
    ours = cpu_linear._lm_head(_never, None, states, head)
    processor = SimpleNamespace(
        use_fp32_lm_head=False, use_fp32_lm_head_output=False, rl_on_policy_target=None
    )
    theirs = LogitsProcessor._compute_lm_head(processor, states, head)
    torch.testing.assert_close(ours, theirs, atol=0.3, rtol=0.05)


def test_the_kernels_are_vectorized() -> None:
    """Else decoding is several times slower, and nothing else would show it."""
    for kernel in (cpu_kernels.linear, cpu_kernels.decode_attention):
        (assembly,) = kernel.inspect_asm().values()
        assert "ymm" in assembly or "zmm" in assembly or "fmla" in assembly
