"""Our attention and our adapters' products, registered under SGLang's own name for PyTorch's.

SGLang's registries take a backend by name, and other places of it know what `torch_native` cannot
do (Triton, graphs), so the name stays.
"""

from __future__ import annotations

from typing import Any

from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend
from sglang.srt.lora.backend.torch_backend import TorchNativeLoRABackend
from sglang.srt.lora.torch_ops import sgemm_lora_a_fwd, sgemm_lora_b_fwd

from serving.engine_plugin import cpu_attention, cpu_lora


class CpuAttention(TorchNativeAttnBackend):  # type: ignore[misc]
    """SGLang's attention by PyTorch, but for the sums themselves."""

    def _run_sdpa_forward_decode(self, *args: Any, **options: Any) -> Any:
        return cpu_attention.decode(super()._run_sdpa_forward_decode, *args, **options)

    def _run_sdpa_forward_extend(self, *args: Any, **options: Any) -> Any:
        return cpu_attention.extend(super()._run_sdpa_forward_extend, *args, **options)


class CpuLora(TorchNativeLoRABackend):  # type: ignore[misc]
    """SGLang's adapters by PyTorch, but for a decoding step's products."""

    # SGLang's PyTorch backend runs adapters' products over a batch without adapters, for nothing.
    skip_inactive_lora_batches = True

    def run_lora_a_sgemm(self, x: Any, weights: Any, stack_num: int = 1, *_: Any, **__: Any) -> Any:
        return self._a(x, weights, stack_num)

    def run_lora_b_sgemm(
        self,
        x: Any,
        weights: Any,
        output_offset_cpu: Any,
        base_output: Any = None,
        *_: Any,
        **__: Any,
    ) -> Any:
        return self._b(x, weights, output_offset_cpu, base_output)

    def run_qkv_lora(
        self,
        x: Any,
        qkv_lora_a: Any,
        qkv_lora_b: Any,
        output_offset: Any,
        output_offset_cpu: Any,
        max_qkv_out_dim: int,
        base_output: Any = None,
        n_slices: int = 3,
        *_: Any,
        **__: Any,
    ) -> Any:
        return self._b(self._a(x, qkv_lora_a, n_slices), qkv_lora_b, output_offset_cpu, base_output)

    def run_gate_up_lora(
        self,
        x: Any,
        gate_up_lora_a: Any,
        gate_up_lora_b: Any,
        output_offset_cpu: Any,
        base_output: Any = None,
        *_: Any,
        **__: Any,
    ) -> Any:
        shrunken = self._a(x, gate_up_lora_a, len(output_offset_cpu) - 1)
        return self._b(shrunken, gate_up_lora_b, output_offset_cpu, base_output)

    def _a(self, x: Any, weights: Any, slices: int) -> Any:
        return cpu_lora.shrink(sgemm_lora_a_fwd, x, weights, self.batch_info, slices)

    def _b(self, x: Any, weights: Any, offsets: Any, base: Any) -> Any:
        return cpu_lora.expand(sgemm_lora_b_fwd, x, weights, self.batch_info, offsets, base)
