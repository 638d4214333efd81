"""Weights of eight bits on a CPU: what is computed, and that a row's result is its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.inside.pools import kv_pool  # first: it prepares the process

import numba  # isort: skip
import torch  # isort: skip

from serving.engine_plugin import cpu_kernels, cpu_linear

assert kv_pool
IN, OUT = 96, 40


@pytest.fixture
def layer() -> Any:
    torch.manual_seed(0)
    return SimpleNamespace(weight=torch.nn.Parameter(torch.randn(OUT, IN), requires_grad=False))


@pytest.fixture(autouse=True)
def decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_linear, "_decoding", True)


def _never(*args: Any, **options: Any) -> None:
    raise AssertionError("a decoding step is not left to SGLang")


@pytest.mark.parametrize("count", [1, 4, 7, 40])
def test_decoding_multiplies_by_the_rounded_weights(layer: Any, count: int) -> None:
    x, bias = torch.randn(count, IN), torch.randn(OUT)
    values, scales = map(torch.from_numpy, cpu_linear.rounded(layer.weight))
    wanted = x @ (values * scales[:, None]).T + bias
    torch.testing.assert_close(cpu_linear._apply(_never, None, layer, x, bias), wanted)
    # Off by at most half of a step.
    assert ((values * scales[:, None] - layer.weight).abs() <= scales[:, None] * 0.5001).all()


def test_a_prompt_meets_the_exact_weights_however_short(layer: Any) -> None:
    x, left = torch.randn(1, IN), []

    def step(runner: Any, batch: Any) -> None:
        cpu_linear._apply(lambda method, layer, x, bias: left.append(x), None, layer, x)

    for decodes in (True, False):
        mode = SimpleNamespace(is_decode=lambda decodes=decodes: decodes)
        cpu_linear._forward(step, None, SimpleNamespace(forward_mode=mode))
        assert len(left) == (0 if decodes else 1)


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
    for kernel in (cpu_kernels.linear, cpu_kernels.decode_attention(3, 64)):
        # Anew: what comes from numba's cache cannot be read.
        options = {"fastmath": kernel.targetoptions["fastmath"]}
        compiled = numba.njit(kernel.signatures, **options)(kernel.py_func)
        (assembly,) = compiled.inspect_asm().values()
        assert "ymm" in assembly or "zmm" in assembly or "fmla" in assembly
