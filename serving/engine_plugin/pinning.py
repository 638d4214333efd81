"""Adapters' code of SGLang asks for pinned host memory, which only an accelerator's allocator has.

Elsewhere SGLang asks its platform first; there it does not. These answers change PyTorch for the
whole process, and belong into the engine's processes only.
"""

from __future__ import annotations

from typing import Any

# The ones that `sglang.srt.lora` calls with `pin_memory=True` on a CPU, and no more.
_FACTORIES = ("tensor", "zeros")


def ignore_pinning() -> None:
    """Give ordinary memory where pinned is asked for. Twice is as once."""
    import torch

    torch.Tensor.pin_memory = _as_it_is
    for name in _FACTORIES:
        factory = getattr(torch, name)
        if not hasattr(factory, "__wrapped__"):
            setattr(torch, name, _without_pinning(factory))


def _as_it_is(tensor: Any, *args: Any, **kwargs: Any) -> Any:
    return tensor


def _without_pinning(factory: Any) -> Any:
    def make(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("pin_memory", None)
        return factory(*args, **kwargs)

    make.__wrapped__ = factory  # type: ignore[attr-defined]
    return make
