"""What the CPU's decoding spends its time on, compiled by numba (which SGLang brings along).

Both compute each row from its own values alone: what else is in a batch changes nothing in it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import njit

_ATTENTION = (
    "void(f4[:,:,::1], f4[:,:,::1], f4[:,:,::1], i4[:,::1], i8[::1], i8[::1], f4, f4[:,:,::1])"
)


@njit("void(f4[:,::1], i1[:,::1], f4[::1], f4[:,::1])", fastmath=True, nogil=True, cache=True)  # type: ignore[untyped-decorator]
def linear(rows: Any, weights: Any, scales: Any, output: Any) -> None:
    """`output[m, n] = scales[n] * sum_k rows[m, k] * weights[n, k]`; each weight is read once.

    Weights are converted in registers, for four rows at once.
    """
    count, size = rows.shape
    for n in range(weights.shape[0]):
        weight, scale, m = weights[n], scales[n], 0
        while m + 4 <= count:
            a = b = c = d = np.float32(0)
            first, second, third, fourth = rows[m], rows[m + 1], rows[m + 2], rows[m + 3]
            for k in range(size):
                value = np.float32(weight[k])
                a += first[k] * value
                b += second[k] * value
                c += third[k] * value
                d += fourth[k] * value
            output[m, n], output[m + 1, n] = a * scale, b * scale
            output[m + 2, n], output[m + 3, n] = c * scale, d * scale
            m += 4
        while m < count:
            a, row = np.float32(0), rows[m]
            for k in range(size):
                a += row[k] * np.float32(weight[k])
            output[m, n] = a * scale
            m += 1


@njit(  # type: ignore[untyped-decorator]
    "void(f4[:,::1], f4[:,:,::1], i8[::1], i4[::1], f4[::1], i8, f4[:,::1])",
    fastmath=True,
    nogil=True,
    cache=True,
)
def lora_shrink(
    rows: Any,
    weights: Any,
    adapters: Any,
    ranks: Any,
    scalings: Any,
    slices: Any,
    output: Any,
) -> None:
    """Each row by its own adapter's A, scaled. weights: adapters, slices times rank, size.

    An adapter's own `slices * rank` come first; what is behind them stays as it is.
    """
    for m in range(rows.shape[0]):
        adapter, row = adapters[m], rows[m]
        scale = scalings[adapter]
        for n in range(slices * ranks[adapter]):
            weight, total = weights[adapter, n], np.float32(0)
            for k in range(row.shape[0]):
                total += row[k] * weight[k]
            output[m, n] = total * scale


@njit(  # type: ignore[untyped-decorator]
    "void(f4[:,::1], f4[:,:,::1], i8[::1], i4[::1], i4[::1], f4[:,::1])",
    fastmath=True,
    nogil=True,
    cache=True,
)
def lora_expand(
    rows: Any, weights: Any, adapters: Any, ranks: Any, offsets: Any, output: Any
) -> None:
    """Adds each shrunken row by its own adapter's B. weights: adapters, channels, largest rank.

    Channels from `offsets[s]` on belong to slice s. A slice that the adapter lacks is all zeros.
    """
    for m in range(rows.shape[0]):
        adapter = adapters[m]
        rank = ranks[adapter]
        for s in range(offsets.shape[0] - 1):
            own = rows[m, s * rank : (s + 1) * rank]
            if not own.any():
                continue
            for n in range(offsets[s], offsets[s + 1]):
                weight, total = weights[adapter, n], np.float32(0)
                for k in range(rank):
                    total += own[k] * weight[k]
                output[m, n] += total


@cache
def decode_attention(group: int, size: int) -> Any:
    """The kernel for heads of `size`, of which `group` share their keys: known when it is compiled,
    so that their loops are unrolled.

    It attends for one new token of each request, over the slots that its row of `table` names.
    query, output: requests, heads, size. keys, values: slots, key heads, size.
    """

    @njit(_ATTENTION, fastmath=True, nogil=True, cache=True)  # type: ignore[untyped-decorator]
    def attend(
        query: Any,
        keys: Any,
        values: Any,
        table: Any,
        rows: Any,
        lengths: Any,
        scale: Any,
        output: Any,
    ) -> None:
        for request in range(query.shape[0]):
            slots, length = table[rows[request]], lengths[request]
            scores = np.empty((group, length), np.float32)
            for head in range(keys.shape[1]):
                own = query[request, head * group : (head + 1) * group]
                for j in range(length):
                    # Unsigned: no index counts from the end.
                    key = keys[np.uint64(slots[j]), np.uint64(head)]
                    for g in range(group):
                        product = np.float32(0)
                        for k in range(size):
                            product += own[g, k] * key[k]
                        scores[g, j] = product * scale
                for g in range(group):
                    shares, highest, total = scores[g], scores[g, 0], np.float32(0)
                    for j in range(length):
                        highest = max(highest, shares[j])
                    for j in range(length):
                        shares[j] = np.float32(math.exp(shares[j] - highest))
                        total += shares[j]
                    for j in range(length):
                        shares[j] /= total
                result = output[request, head * group : (head + 1) * group]
                result[:] = 0
                for j in range(length):
                    value = values[np.uint64(slots[j]), np.uint64(head)]
                    for g in range(group):
                        share = scores[g, j]
                        for k in range(size):
                            result[g, k] += share * value[k]

    return attend
