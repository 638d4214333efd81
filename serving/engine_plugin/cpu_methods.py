"""How a layer multiplies, in SGLang's form, its `quant_method`: decoding by rounded weights."""

from __future__ import annotations

from typing import Any

from sglang.srt.layers.quantization.unquant import (
    UnquantizedEmbeddingMethod,
    UnquantizedLinearMethod,
)

from serving.engine_plugin.cpu_linear import fits, linear


class RoundedLinear(UnquantizedLinearMethod):  # type: ignore[misc]
    """SGLang's method for plain weights, but for a decoding step's rows."""

    def apply(self, layer: Any, x: Any, bias: Any = None) -> Any:
        if not fits(x, layer):
            return super().apply(layer, x, bias)
        output = linear(x, layer)
        return output if bias is None else output.add_(bias)


class RoundedHead(UnquantizedEmbeddingMethod):  # type: ignore[misc]
    """The same for the vocabulary's head; looking tokens up stays SGLang's."""

    def apply(self, layer: Any, x: Any, bias: Any = None) -> Any:
        if bias is None and fits(x, layer):
            return linear(x, layer)
        # SGLang does it for a head with its own method, and leaves it to others.
        return super().apply(layer, x.to(layer.weight.dtype), bias)


# For these very classes: what derives from them knows more of its weights than we do.
ROUNDED: dict[type, type] = {
    UnquantizedLinearMethod: RoundedLinear,
    UnquantizedEmbeddingMethod: RoundedHead,
}
