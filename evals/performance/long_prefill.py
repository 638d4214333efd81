"""A running answer while a long prompt arrives: how long does its next token take?

Each chunk of the prompt is a step that all running answers wait for, so the chunk's size is the
longest wait, and a smaller one makes the prompt itself slower. Left to itself, SGLang computes
all chunks before it goes on with the answers: that is measured beside.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise
from typing import Any

from evals.performance.engine_side import Progress, asker_of, random_words, running_sides
from serving.engine.client import EngineClient, Job
from serving.engine.launch import Worker

# Tokens before the long prompt is sent.
_ALONE = 12


async def measure(
    worker: Worker, sizes: Sequence[int], rounds: int, words: int, progress: Progress
) -> dict[str, Any]:
    """For each `--chunked-prefill-size`: gaps between tokens, and the prompt's."""
    rows = []
    for size, interval, shared in _settings(sizes, worker.shared_chunk):
        flags = ("--chunked-prefill-size", str(size), "--prefill-decode-interval", str(interval))
        chunked = replace(worker, shared_chunk=shared, arguments=(*worker.arguments, *flags))
        async with running_sides(chunked, progress, {"ours": True}, {}) as sides:
            progress(f"chunks of {size}, of {shared or size} beside answers, {interval} between")
            seen = await measured(sides["ours"], rounds, words)
        rows.append(
            {
                "chunked_prefill_size": size,
                "shared_chunk": shared,
                "prefill_decode_interval": interval,
            }
            | seen
        )
    return {"words": words, "rounds": rounds, "rows": rows}


def _settings(sizes: Sequence[int], shared: int) -> list[tuple[int, int, int]]:
    """Chunk, steps of decoding after each, chunk beside running answers. Each size by itself; the
    largest but one as it is set; and the smallest as in SGLang itself, without steps between."""
    usual = sorted(sizes)[-2:][0]
    return [*((size, 1, 0) for size in sizes), (usual, 1, shared), (min(sizes), 0, 0)]


async def measured(client: EngineClient, rounds: int, words: int) -> dict[str, Any]:
    """Gaps between an answer's tokens, and the long prompt's time, on an engine that runs."""
    return _summary([await _round(client, words) for _ in range(rounds)])


def _summary(seen: list[dict[str, Any]]) -> dict[str, Any]:
    median = statistics.median
    return {
        "prompt_tokens": seen[0]["prompt_tokens"],
        "gap_alone_ms": round(1000 * median(each["alone"] for each in seen), 1),
        "longest_gap_ms": round(1000 * median(each["longest"] for each in seen), 1),
        "prompt_seconds": round(median(each["seconds"] for each in seen), 2),
    }


async def _round(client: EngineClient, words: int) -> dict[str, Any]:
    async with aclosing(_pieces(client)) as pieces:
        times = [await anext(pieces) for _ in range(_ALONE)]
        message = {"role": "user", "content": random_words(words)}
        asked = asyncio.create_task(asker_of(client, "chunks").ask([message], 1))
        async for moment in pieces:
            times.append(moment)
            if asked.done():
                break
        answer = await asked
    gaps = [b - a for a, b in pairwise(times)]
    return {
        "alone": statistics.median(gaps[: _ALONE - 1]),
        "longest": max(gaps[_ALONE - 1 :]),
        "seconds": answer.seconds,
        "prompt_tokens": answer.usage.prompt,
    }


async def _pieces(client: EngineClient) -> AsyncGenerator[float, None]:
    """When each piece of a long answer arrives."""
    asker = asker_of(client, "chunks")
    messages = [{"role": "user", "content": "Tell me everything."}]
    job = Job(secrets.token_hex(16), messages, 4_000, {"temperature": 0, "ignore_eos": True})
    async with aclosing(client.of(asker.ctx, asker.namespace).stream(job)) as deltas:
        async for delta in deltas:
            if delta.text:
                yield time.perf_counter()
