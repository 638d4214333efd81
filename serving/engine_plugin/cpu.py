"""Shims that let SGLang 0.5.23 run on a CPU without AMX or AVX-512.

Each answers one import or call that assumes an accelerator. They change this process for good, so
they belong into the engine's processes only: the factory shim corrupts models that transformers
*converts* (BERT's position ids became garbage), and conversion therefore uses the first one alone.
"""

from __future__ import annotations

import os
import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any

# Set by the launcher. `int8` and `float32`: our kernels, over weights of that kind when decoding;
# `stock`: SGLang's own, to compare.
KERNELS = "BULKHEAD_ENGINE_KERNELS"
_FACTORIES = ("tensor", "empty", "zeros", "ones", "arange", "full", "empty_like", "zeros_like")


def kernels() -> str:
    """Which kernels this process uses: one of the above on a CPU, else none of ours."""
    return os.environ.get(KERNELS, "stock") if on_cpu() else "stock"


def on_cpu() -> bool:
    """Whether this process belongs to an engine on a CPU."""
    return os.environ.get("BULKHEAD_ENGINE_DEVICE") == "cpu"


def allow_torchvision_without_cuda() -> None:
    """torchvision's wheel registers meta kernels for operators that its CUDA library defines."""
    name = "torchvision._meta_registrations"
    sys.modules.setdefault(name, types.ModuleType(name))


def prepare_process() -> None:
    """All shims; call it before SGLang is imported."""
    allow_torchvision_without_cuda()
    _stand_in_for_vllm()
    _ignore_pinned_memory()


def _stand_in_for_vllm() -> None:
    # SGLang's rotary embedding imports it on platforms it does not know, and never calls it there.
    package = types.ModuleType("vllm")
    package.__spec__ = ModuleSpec("vllm", loader=None, is_package=True)
    package.__path__ = []
    operators = types.ModuleType("vllm._custom_ops")
    operators.__spec__ = ModuleSpec("vllm._custom_ops", loader=None)
    operators.rotary_embedding = _never_called  # type: ignore[attr-defined]
    package._custom_ops = operators  # type: ignore[attr-defined]
    sys.modules["vllm"] = package
    sys.modules["vllm._custom_ops"] = operators


def _never_called(*args: Any, **kwargs: Any) -> None:
    raise NotImplementedError("the CPU computes rotary embeddings natively")


def _ignore_pinned_memory() -> None:
    # Pinning host memory needs a CUDA allocator.
    import torch

    torch.Tensor.pin_memory = lambda self, *args, **kwargs: self
    for name in _FACTORIES:
        setattr(torch, name, _without_pinning(getattr(torch, name)))


def _without_pinning(factory: Any) -> Any:
    def make(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("pin_memory", None)
        return factory(*args, **kwargs)

    return make
