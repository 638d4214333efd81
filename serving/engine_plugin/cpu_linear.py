"""Decoding meets weights of eight bits: on a CPU, it waits for weights to arrive.

Weights are rounded to 255 steps of their output channel's largest; activations and sums stay
float32. A prompt is bound by arithmetic instead, and meets the exact weights. Which of the two is
decided by the step's kind and not by its size: who shares a batch changes no answer.
"""

from __future__ import annotations

from typing import Any

from serving.engine_plugin import hooks
from serving.engine_plugin.cpu import kernels

_RUNNER = "sglang.srt.model_executor.model_runner.ModelRunner"
_LINEAR = "sglang.srt.layers.quantization.unquant.UnquantizedLinearMethod"
_LOGITS = "sglang.srt.layers.logits_processor.LogitsProcessor"
_decoding = False


def register() -> None:
    """Register the hooks, where the engine runs on a CPU with weights of eight bits.

    Raises:
        MissingTargetError: this SGLang lacks a place.
    """
    if kernels() == "int8":
        hooks.around(f"{_RUNNER}.forward", ("self", "forward_batch"), _forward)
        hooks.around(f"{_LINEAR}.apply", ("self", "layer", "x", "bias"), _apply)
        parameters = ("self", "hidden_states", "lm_head", "embedding_bias")
        hooks.around(f"{_LOGITS}._compute_lm_head", parameters, _lm_head)


def _forward(original: hooks.Hook, runner: Any, batch: Any, *args: Any, **options: Any) -> Any:
    global _decoding
    _decoding = batch.forward_mode.is_decode()
    try:
        return original(runner, batch, *args, **options)
    finally:
        _decoding = False


def _apply(original: hooks.Hook, method: Any, layer: Any, x: Any, bias: Any = None) -> Any:
    if not _fits(x, layer):
        return original(method, layer, x, bias)
    output = linear(x, layer)
    return output if bias is None else output.add_(bias)


def _lm_head(
    original: hooks.Hook,
    processor: Any,
    states: Any,
    lm_head: Any,
    embedding_bias: Any = None,
    **options: Any,
) -> Any:
    plain = type(lm_head).__name__ in ("VocabParallelEmbedding", "ParallelLMHead")
    if not plain or embedding_bias is not None or not _fits(states, lm_head):
        return original(processor, states, lm_head, embedding_bias, **options)
    return linear(states, lm_head)


def linear(x: Any, layer: Any) -> Any:
    """`x` times the layer's weight, rounded; rounded anew when the weight was changed."""
    from serving.engine_plugin import cpu_kernels

    weight, packed = layer.weight, getattr(layer, "bulkhead_int8", None)
    if packed is None or packed[0] != (weight.data_ptr(), weight._version):
        packed = layer.bulkhead_int8 = ((weight.data_ptr(), weight._version), *rounded(weight))
    output = x.new_empty(x.shape[0], weight.shape[0])
    cpu_kernels.linear(x.contiguous().numpy(), packed[1], packed[2], output.numpy())
    return output


def rounded(weight: Any) -> tuple[Any, Any]:
    """Eight-bit weights and their channels' scales, as NumPy arrays."""
    import torch

    scales = weight.detach().abs().amax(1).clamp_min_(1e-30).div_(127)
    values = torch.round(weight.detach() / scales[:, None]).to(torch.int8)
    return values.numpy(), scales.numpy()


def _fits(x: Any, layer: Any) -> bool:
    """Whether it is a decoding step's rows of float32 over a plain weight of float32."""
    import torch

    weight = getattr(layer, "weight", None)
    return (
        _decoding
        and x.dim() == 2
        and x.dtype == torch.float32
        and weight is not None
        and weight.dtype == torch.float32
    )
