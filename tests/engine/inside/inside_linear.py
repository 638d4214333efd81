"""Weights of eight bits on a CPU: what is computed, and that a row's result is its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.inside.pools import kv_pool  # first: it prepares the process

import numba  # isort: skip
import torch  # isort: skip

from serving.engine_plugin import cpu_kernels, cpu_linear, cpu_methods

assert kv_pool
IN, OUT = 96, 40


@pytest.fixture
def layer() -> Any:
    torch.manual_seed(0)
    return SimpleNamespace(weight=torch.nn.Parameter(torch.randn(OUT, IN), requires_grad=False))


@pytest.fixture(autouse=True)
def decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_linear, "_decoding", True)


@pytest.fixture
def sglang(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was left to SGLang's own methods."""
    left: list[Any] = []

    def took(method: Any, layer: Any, x: Any, bias: Any = None) -> None:
        left.append(x)

    for theirs in cpu_methods.ROUNDED:
        monkeypatch.setattr(theirs, "apply", took)
    return left


@pytest.mark.parametrize("count", [1, 4, 7, 40])
def test_decoding_multiplies_by_the_rounded_weights(
    layer: Any, count: int, sglang: list[Any]
) -> None:
    x, bias = torch.randn(count, IN), torch.randn(OUT)
    values, scales = map(torch.from_numpy, cpu_linear.rounded(layer.weight))
    wanted = x @ (values * scales[:, None]).T + bias
    torch.testing.assert_close(cpu_methods.RoundedLinear().apply(layer, x, bias), wanted)
    assert not sglang
    # Off by at most half of a step.
    assert ((values * scales[:, None] - layer.weight).abs() <= scales[:, None] * 0.5001).all()


def test_a_prompt_meets_the_exact_weights_however_short(layer: Any, sglang: list[Any]) -> None:
    x = torch.randn(1, IN)

    def step(runner: Any, batch: Any) -> None:
        for method in cpu_methods.ROUNDED.values():
            method().apply(layer, x)

    for decodes in (True, False):
        mode = SimpleNamespace(is_decode=lambda decodes=decodes: decodes)
        cpu_linear._forward(step, None, SimpleNamespace(forward_mode=mode))
        assert len(sglang) == (0 if decodes else 2)


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


def test_the_head_over_the_vocabulary_is_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from sglang.srt.layers.logits_processor import LogitsProcessor
    from sglang.srt.layers.quantization.unquant import UnquantizedEmbeddingMethod

    weight = torch.nn.Parameter(torch.randn(OUT, IN), requires_grad=False)
    states = torch.randn(2, IN)
    processor = SimpleNamespace(
        use_fp32_lm_head=False, use_fp32_lm_head_output=False, rl_on_policy_target=None
    )

    def logits(method: Any) -> Any:
        """As SGLang computes them, for a head with this method."""
        head = SimpleNamespace(weight=weight, quant_method=method)
        return LogitsProcessor._compute_lm_head(processor, states, head)

    exact, ours = logits(UnquantizedEmbeddingMethod()), logits(cpu_methods.RoundedHead())
    torch.testing.assert_close(ours, exact, atol=0.3, rtol=0.05)
    assert not torch.equal(ours, exact)
    # Prompts' last rows are exact, to the bit.
    monkeypatch.setattr(cpu_linear, "_decoding", False)
    assert torch.equal(logits(cpu_methods.RoundedHead()), exact)


def test_the_kernels_are_vectorized() -> None:
    """Else decoding is several times slower, and nothing else would show it."""
    for kernel in (cpu_kernels.linear, cpu_kernels.decode_attention(3, 64)):
        # Anew: what comes from numba's cache cannot be read.
        options = {"fastmath": kernel.targetoptions["fastmath"]}
        compiled = numba.njit(kernel.signatures, **options)(kernel.py_func)
        (assembly,) = compiled.inspect_asm().values()
        assert "ymm" in assembly or "zmm" in assembly or "fmla" in assembly
