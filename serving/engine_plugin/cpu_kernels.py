"""What the CPU's decoding spends its time on, compiled by numba (which SGLang brings along).

Both compute each row from its own values alone: what else is in a batch changes nothing in it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit


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
    "void(f4[:,:,::1], f4[:,:,::1], f4[:,:,::1], i4[:,::1], i8[::1], i8[::1], f4, f4[:,:,::1])",
    fastmath=True,
    nogil=True,
    cache=True,
)
def decode_attention(
    query: Any,
    keys: Any,
    values: Any,
    table: Any,
    rows: Any,
    lengths: Any,
    scale: Any,
    output: Any,
) -> None:
    """One new token of each request, over the slots that its row of `table` names.

    query, output: requests, heads, size. keys, values: slots, key heads, size.
    """
    heads, size = query.shape[1], query.shape[2]
    kv_heads = keys.shape[1]
    group = heads // kv_heads
    for request in range(query.shape[0]):
        slots, length = table[rows[request]], lengths[request]
        scores = np.empty((group, length), np.float32)
        for head in range(kv_heads):
            for j in range(length):
                key = keys[slots[j], head]
                for g in range(group):
                    own, product = query[request, head * group + g], np.float32(0)
                    for k in range(size):
                        product += own[k] * key[k]
                    scores[g, j] = product * scale
            for g in range(group):
                own_scores, highest = scores[g], scores[g, 0]
                for j in range(length):
                    highest = max(highest, own_scores[j])
                total = np.float32(0)
                for j in range(length):
                    own_scores[j] = math.exp(own_scores[j] - highest)
                    total += own_scores[j]
                result = output[request, head * group + g]
                result[:] = 0
                own_scores /= total
            for j in range(length):
                value = values[slots[j], head]
                for g in range(group):
                    share, result = scores[g, j], output[request, head * group + g]
                    for k in range(size):
                        result[k] += share * value[k]
