"""A closed-loop load: so many clients, each with one request in flight at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import orjson


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and with which key."""

    url: str
    key: str
    model: str


@dataclass(frozen=True, slots=True)
class Load:
    """How many requests, by how many clients, streamed or not."""

    requests: int
    concurrency: int
    stream: bool


@dataclass(frozen=True, slots=True)
class Round:
    """One run of a load. Seconds; `latencies` has one entry a request, in no order."""

    latencies: list[float]
    seconds: float


class LoadError(Exception):
    """A request failed: the run says nothing."""


async def run(target: Target, load: Load, progress: Callable[[int], object]) -> Round:
    """Send the load and wait for its end.

    Raises:
        LoadError: a request was not answered whole.
    """
    connector = aiohttp.TCPConnector(limit=load.concurrency)
    headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
    body = _body(target, load)
    left = iter(range(load.requests))
    latencies: list[float] = []
    async with aiohttp.ClientSession(target.url, connector=connector, headers=headers) as session:

        async def client() -> None:
            for _ in left:
                begun = time.perf_counter()
                await _one(session, body, load.stream)
                latencies.append(time.perf_counter() - begun)
                progress(1)

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(load.concurrency)))
        return Round(latencies, time.perf_counter() - begun)


async def _one(session: aiohttp.ClientSession, body: bytes, stream: bool) -> None:
    try:
        async with session.post("/v1/chat/completions", data=body) as reply:
            answer = await reply.read()
    except aiohttp.ClientError as error:
        raise LoadError(f"a request broke off: {type(error).__name__}") from error
    whole = answer.endswith(b"data: [DONE]\n\n") if stream else b'"finish_reason":"stop"' in answer
    if reply.status != 200 or not whole:
        raise LoadError(f"a request was answered with status {reply.status}, or not whole")


def _body(target: Target, load: Load) -> bytes:
    question = "How many days do I have to return a jacket that does not fit?"
    return orjson.dumps(
        {
            "model": target.model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 16,
            "stream": load.stream,
        }
    )
