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
_PLATFORM = "sglang.srt.platforms.interface.SRTPlatform"
_METHODS = "sglang.srt.layers.quantization.unquant"
_ROUNDED = "bulkhead_rounded"
_decoding = False


def register() -> None:
    """Register the hook, where the engine runs on a CPU with weights of eight bits.

    Raises:
        MissingTargetError: this SGLang lacks a place.
    """
    if kernels() != "int8":
        return
    hooks.around(f"{_RUNNER}.forward", ("self", "forward_batch"), _forward)
    # Called by SGLang, and not hooked: looked up all the same.
    hooks.require(f"{_PLATFORM}.post_load_model", ("self", "model"))
    for name in ("UnquantizedLinearMethod", "UnquantizedEmbeddingMethod"):
        hooks.require(f"{_METHODS}.{name}.apply", ("self", "layer", "x", "bias"))


def install(model: Any) -> int:
    """Let the model's plain layers, and its head, decode by rounded weights; how many they are."""
    if kernels() != "int8":
        return 0
    from serving.engine_plugin.cpu_methods import ROUNDED

    layers = [m for m in model.modules() if type(getattr(m, "quant_method", None)) in ROUNDED]
    for layer in layers:
        layer.quant_method = ROUNDED[type(layer.quant_method)]()
    setattr(model, _ROUNDED, len(layers))
    return len(layers)


def rounded_layers(model: Any) -> int:
    """How many layers of this model decode by rounded weights."""
    return int(getattr(model, _ROUNDED, 0))


def _forward(original: hooks.Hook, runner: Any, batch: Any, *args: Any, **options: Any) -> Any:
    global _decoding
    _decoding = batch.forward_mode.is_decode()
    try:
        return original(runner, batch, *args, **options)
    finally:
        _decoding = False


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


def fits(x: Any, layer: Any) -> bool:
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
