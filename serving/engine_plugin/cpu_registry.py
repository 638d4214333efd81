"""Where SGLang finds our backends on a CPU: its registries of attention and of adapters' products.

They stand under SGLang's own name for PyTorch's operators: other places of it know what that
backend cannot do (Triton, graphs).
"""

from __future__ import annotations

from typing import Any

from serving.engine_plugin import hooks
from serving.engine_plugin.cpu import kernels

_NAME = "torch_native"
_ATTENTION = "sglang.srt.layers.attention.torch_native_backend.TorchNativeAttnBackend"
_LORA = "sglang.srt.lora.backend.torch_backend.TorchNativeLoRABackend"
_SUMS = ("self", "query", "output", "k_cache", "v_cache", "req_to_token", "req_pool_indices")
# What `cpu_backends` overrides, and what it is called with.
_OVERRIDDEN = {
    f"{_ATTENTION}._run_sdpa_forward_decode": (*_SUMS, "seq_lens", "encoder_lens"),
    f"{_ATTENTION}._run_sdpa_forward_extend": (
        *_SUMS,
        *("seq_lens", "extend_prefix_lens", "extend_seq_lens", "encoder_lens"),
    ),
    f"{_LORA}.run_lora_a_sgemm": ("self", "x", "weights", "stack_num"),
    f"{_LORA}.run_lora_b_sgemm": ("self", "x", "weights", "output_offset_cpu", "base_output"),
    f"{_LORA}.run_qkv_lora": (
        *("self", "x", "qkv_lora_a", "qkv_lora_b", "output_offset", "output_offset_cpu"),
        *("max_qkv_out_dim", "base_output", "n_slices"),
    ),
    f"{_LORA}.run_gate_up_lora": (
        *("self", "x", "gate_up_lora_a", "gate_up_lora_b", "output_offset_cpu", "base_output"),
    ),
}
_SWITCH = "skip_inactive_lora_batches"


def register() -> None:
    """Register the backends, where the engine runs on a CPU with our kernels.

    Raises:
        MissingTargetError: this SGLang lacks a place, or the switch for batches without adapters.
    """
    if kernels() == "stock":
        return
    from sglang.srt.layers.attention.attention_registry import register_attention_backend
    from sglang.srt.lora.backend.base_backend import BaseLoRABackend
    from sglang.srt.lora.backend.lora_registry import register_lora_backend

    for target, parameters in _OVERRIDDEN.items():
        hooks.require(target, parameters)
    if not hasattr(BaseLoRABackend, _SWITCH):
        raise hooks.MissingTargetError(f"SGLang's LoRA backends have no {_SWITCH}")
    register_attention_backend(_NAME)(_attention)
    register_lora_backend(_NAME)(_lora)


def _attention(runner: Any) -> Any:
    from serving.engine_plugin.cpu_backends import CpuAttention

    return CpuAttention(runner)


def _lora() -> Any:
    from serving.engine_plugin.cpu_backends import CpuLora

    return CpuLora
