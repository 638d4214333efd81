"""Attention on a CPU without a kernel of SGLang's: the same sums, with less moved around.

SGLang's `torch_native` backend gathers keys by `tensor[index]` (on a CPU six times slower than
`index_select`), repeats them for grouped heads, and computes a prompt's cached part once more as
queries whose results it throws away. Windows, encoders and mixed types stay SGLang's.
"""

from __future__ import annotations

from typing import Any

from serving.engine_plugin.hooks import Hook


def decode(original: Hook, *args: Any, **options: Any) -> Any:
    """One new token of each request. `original`: SGLang's own, for what is left to it."""
    query, output, keys, values, table, rows, lengths, *_ = args
    if not _plain(query, keys, args[7:], options):
        return original(*args, **options)
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    if _compilable(query, output, keys, values, table):
        from serving.engine_plugin.cpu_kernels import decode_attention

        arrays = (t.numpy() for t in (query, keys, values, table, rows.long(), lengths.long()))
        attend = decode_attention(query.shape[1] // keys.shape[1], query.shape[2])
        attend(*arrays, scale, output.numpy())
        return output
    # Heads that share keys become rows of one query: nothing is repeated.
    grouped = query.view(query.shape[0], keys.shape[1], -1, query.shape[2])
    result = output.view_as(grouped)
    for index, (row, length) in enumerate(zip(rows.tolist(), lengths.tolist(), strict=True)):
        slots = table[row, :length]
        result[index] = _attended(grouped[index], keys, values, slots, scale, None, False)
    return output


def _compilable(query: Any, output: Any, keys: Any, values: Any, table: Any) -> bool:
    """Whether the compiled kernel takes these: float32 and in one piece, as in SGLang's pools."""
    import torch

    tensors = (query, output, keys, values)
    return (
        all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in tensors)
        and table.dtype == torch.int32
        and table.is_contiguous()
        and keys.shape[2] == values.shape[2] == query.shape[2]
    )


def extend(original: Hook, *args: Any, **options: Any) -> Any:
    """Prompts, or parts of them, after what is cached. `original`: as above."""
    query, output, keys, values, table, rows, lengths, prefixes, counts, *_ = args
    if not options.get("causal") or not _plain(query, keys, args[9:], options):
        return original(*args, **options)
    begin = 0
    for row, length, prefix, count in zip(
        rows.tolist(), lengths.tolist(), prefixes.tolist(), counts.tolist(), strict=True
    ):
        own = query[begin : begin + count].transpose(0, 1)
        mask = _mask(count, length, prefix) if prefix else None
        attended = _attended(
            own, keys, values, table[row, :length], options.get("scaling"), mask, not prefix
        )
        output[begin : begin + count] = attended.transpose(0, 1)
        begin += count
    return output


def _plain(query: Any, keys: Any, encoder: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether it is a decoder's attention over everything before, in one type."""
    window = options.get("sliding_window_size")
    encodes = any(lengths is not None for lengths in encoder) or options.get("encoder_lens")
    return (
        not encodes
        and not options.get("is_cross_attn")
        and (window is None or window < 0)
        and query.dtype == keys.dtype
    )


def _attended(
    query: Any, keys: Any, values: Any, slots: Any, scale: Any, mask: Any, causal: bool
) -> Any:
    """`query`: heads, rows, size. The same shape comes back."""
    from torch.nn.functional import scaled_dot_product_attention

    key = keys.index_select(0, slots).transpose(0, 1)
    value = values.index_select(0, slots).transpose(0, 1)
    return scaled_dot_product_attention(
        query.unsqueeze(0),
        key.unsqueeze(0),
        value.unsqueeze(0),
        attn_mask=mask,
        scale=scale,
        is_causal=causal,
        enable_gqa=query.shape[0] != key.shape[0],
    ).squeeze(0)


def _mask(count: int, length: int, prefix: int) -> Any:
    """Row i sees what stands before it: the prefix, and i + 1 tokens more."""
    import torch

    return torch.ones(count, length, dtype=torch.bool).tril(prefix)
