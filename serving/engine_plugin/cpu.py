"""SGLang 0.5.23 on a CPU without AMX or AVX-512: what this process is, and its platform's entry.

SGLang's own CPU platform wants kernels that only AMX or AVX-512 have. Ours stands in for it
(`cpu_platform`, chosen by `SGLANG_PLATFORM`); decision 24 says what no interface carries.
"""

from __future__ import annotations

import os
import sys
import types

# Set by the launcher. `int8` and `float32`: our kernels, over weights of that kind when decoding;
# `stock`: SGLang's own, to compare.
KERNELS = "BULKHEAD_ENGINE_KERNELS"
# The name of our entry point in SGLang's group `sglang.srt.platforms`.
PLATFORM = "bulkhead_cpu"


def activate() -> str | None:
    """SGLang's entry point `sglang.srt.platforms`: our platform's class; None, it is not for here.

    Where the launcher chose the CPU, and PyTorch sees no card either: SGLang's own code asks
    PyTorch in many places, and half an engine would run on each.
    """
    import torch

    if not on_cpu() or torch.cuda.is_available():
        return None
    return "serving.engine_plugin.cpu_platform.CpuPlatform"


def kernels() -> str:
    """Which kernels this process uses: one of the above on a CPU, else none of ours."""
    return os.environ.get(KERNELS, "stock") if on_cpu() else "stock"


def on_cpu() -> bool:
    """Whether this process belongs to an engine on a CPU."""
    return os.environ.get("BULKHEAD_ENGINE_DEVICE") == "cpu"


def allow_torchvision_without_cuda() -> None:
    """torchvision's wheel registers meta kernels for operators that its CUDA library defines.

    Call it before anything imports torchvision.
    """
    name = "torchvision._meta_registrations"
    sys.modules.setdefault(name, types.ModuleType(name))
