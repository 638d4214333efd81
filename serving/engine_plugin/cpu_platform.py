"""This machine's CPU as SGLang's platform (entry point `sglang.srt.platforms`).

Out of tree in SGLang's words: it chooses PyTorch's own operators, and no kernels that it lacks.
"""

from __future__ import annotations

from typing import Any

import torch
from sglang.srt.platforms.cpu import CpuDeviceMixin
from sglang.srt.platforms.device_mixin import PlatformEnum
from sglang.srt.platforms.interface import SRTPlatform

from serving.engine_plugin import cpu_linear
from serving.engine_plugin.pinning import ignore_pinning


class CpuPlatform(CpuDeviceMixin, SRTPlatform):  # type: ignore[misc]
    """What SGLang asks its device about. Capabilities stay SGLang's most careful ones: no Triton,
    no graphs."""

    # As `CPU`, SGLang would import kernels for AMX; unknown, vLLM's for rotary embeddings.
    _enum = PlatformEnum.OOT

    def init_backend(self) -> None:
        """SGLang calls it in each worker, before it loads a model."""
        ignore_pinning()

    def post_load_model(self, model: Any) -> None:
        """Decoding meets rounded weights, where they were chosen."""
        cpu_linear.install(model)

    def get_default_attention_backend(self) -> str:
        """SGLang's name for PyTorch's operators, under which our attention is registered."""
        return "torch_native"

    def get_device_total_memory(self, device_id: int = 0) -> int:
        """Bytes that this process may have: its control group's, where there is a limit."""
        # Here: SGLang's utilities ask for the platform while they are imported.
        from sglang.srt.utils.common import get_cpu_memory_capacity

        return int((get_cpu_memory_capacity() or 0) * (1 << 20))

    def empty_cache(self) -> None:
        """Nothing: PyTorch keeps no host memory, and a collection would copy a fork's pages."""

    def get_torch_profiler_activity_str(self) -> str:
        """How a request to profile names this device."""
        return "CPU"

    def get_torch_profiler_activity(self) -> Any:
        """The same in PyTorch's words."""
        return torch.profiler.ProfilerActivity.CPU
