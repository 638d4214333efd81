"""A batch without adapters skips the adapters' kernels, as SGLang's newer backends do.

Its PyTorch backend, which is the CPU's, ran them over every batch for nothing.
"""

from __future__ import annotations

from serving.engine_plugin import hooks
from serving.engine_plugin.cpu import kernels

_SWITCH = "skip_inactive_lora_batches"


def register() -> None:
    """Turn the switch on, where the engine runs on a CPU.

    Raises:
        MissingTargetError: this SGLang has no such switch.
    """
    if kernels() == "stock":
        return
    from sglang.srt.lora.backend.torch_backend import TorchNativeLoRABackend

    if not hasattr(TorchNativeLoRABackend, _SWITCH):
        raise hooks.MissingTargetError(f"SGLang's LoRA backends have no {_SWITCH}")
    setattr(TorchNativeLoRABackend, _SWITCH, True)
