"""Adapters' part of a decoding step on a CPU: two calls for all rows of a batch.

SGLang's PyTorch backend goes through a batch adapter by adapter, with a dozen small operations for
each of their parts. A prompt is left to it: there, one large product for each is what PyTorch does
best.
"""

from __future__ import annotations

from typing import Any

from serving.engine_plugin.hooks import Hook


def shrink(original: Hook, inputs: Any, weights: Any, batch_info: Any, num_slices: int = 1) -> Any:
    """Each row by its adapter's A. `original`: SGLang's own, for what is left to it."""
    if not _fits(inputs, weights, batch_info):
        return original(inputs, weights, batch_info, num_slices)
    from serving.engine_plugin import cpu_kernels

    output = inputs.new_zeros(inputs.shape[0], weights.shape[1])
    adapters, ranks, scalings = _of_rows(batch_info)
    arrays = (inputs.contiguous().numpy(), weights.numpy(), adapters, ranks, scalings)
    cpu_kernels.lora_shrink(*arrays, num_slices, output.numpy())
    return output


def expand(
    original: Hook,
    inputs: Any,
    weights: Any,
    batch_info: Any,
    slice_offsets: Any,
    base_output: Any = None,
) -> Any:
    """Adds each shrunken row by its adapter's B. `original`: as above."""
    into_place = base_output is not None and base_output.is_contiguous()
    if not into_place or not _fits(inputs, weights, batch_info):
        return original(inputs, weights, batch_info, slice_offsets, base_output)
    from serving.engine_plugin import cpu_kernels

    adapters, ranks, _ = _of_rows(batch_info)
    arrays = (inputs.contiguous().numpy(), weights.numpy(), adapters, ranks)
    cpu_kernels.lora_expand(*arrays, slice_offsets.numpy(), base_output.numpy())
    return base_output


def _fits(inputs: Any, weights: Any, batch_info: Any) -> bool:
    """Whether each request has one row, of float32 over weights of float32 in one piece."""
    import torch

    return (
        inputs.shape[0] == batch_info.bs
        and not batch_info.use_cuda_graph
        and inputs.dtype == weights.dtype == torch.float32
        and weights.numel() > 0
        and weights.is_contiguous()
    )


def _of_rows(batch_info: Any) -> tuple[Any, Any, Any]:
    """Each row's adapter, and each adapter's rank and scaling; worked out once for a step."""
    known = getattr(batch_info, "bulkhead_rows", None)
    if known is None:
        import numpy as np

        counts = batch_info.seg_lens_cpu.numpy()
        adapters = np.repeat(batch_info.weight_indices_cpu.numpy().astype(np.int64), counts)
        ranks, scalings = batch_info.lora_ranks_cpu.numpy(), batch_info.scalings_cpu.numpy()
        known = batch_info.bulkhead_rows = (adapters, ranks, scalings)
    return known
