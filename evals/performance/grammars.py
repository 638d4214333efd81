"""Tool schemas that nobody sent before, beside a neighbour that has no tools (decision 37).

At the engine itself, on ours and on SGLang as it is. And whether the time that a schema takes tells
a tenant that another one has it: compiled for one, it is sent by both.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import statistics
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from evals.performance.engine_side import Asker, Progress, asker_of, running_sides, stock
from serving.engine.client import EngineClient, Job
from serving.engine.launch import Worker

# Characters of two strings of a schema: as much as the gateway lets through (`tool_schema`).
_SHORTEST, _LONGEST = 40, 64
_QUESTION = [{"role": "user", "content": "Where is my order?"}]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much. chats: of the neighbour, of `tokens` each. streams: of who sends schemas, at once.
    schemas: of which it is looked whether they tell."""

    chats: int = 30
    tokens: int = 16
    streams: int = 4
    schemas: int = 5


async def measure(worker: Worker, plan: Plan, progress: Progress) -> dict[str, Any]:
    """Both sides, one after the other."""
    async with running_sides(worker, progress, {"ours": True}, {"stock": stock}) as sides:
        seen = {}
        for name, client in sides.items():
            progress(f"chats beside schemas: {name}")
            seen[name] = await measured(client, plan)
    return {"plan": asdict(plan), **seen}


async def measured(client: EngineClient, plan: Plan) -> dict[str, Any]:
    """The neighbour's times, and what those of a schema tell, on an engine that runs."""
    neighbour = asker_of(client, "neighbour")
    await _chats(neighbour, plan)
    alone = await _chats(neighbour, plan)
    async with _sending(client, plan) as sent:
        beside = await _chats(neighbour, plan)
    return {
        "alone_ms": _milliseconds(alone),
        "beside_schemas_ms": _milliseconds(beside),
        "schemas_meanwhile": len(sent),
        "of_first_compilation": await _told(client, plan.schemas),
    }


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "p50": round(1000 * statistics.median(seconds), 1),
        "max": round(1000 * max(seconds), 1),
    }


async def _chats(neighbour: Asker, plan: Plan) -> list[float]:
    answers = [await neighbour.ask(_QUESTION, plan.tokens, whole=True) for _ in range(plan.chats)]
    return [answer.seconds for answer in answers]


@asynccontextmanager
async def _sending(client: EngineClient, plan: Plan) -> AsyncGenerator[list[float], None]:
    """While the block runs, one tenant sends new schemas; the times of those that were answered."""
    sender, took = asker_of(client, "sender"), list[float]()

    async def stream() -> None:
        while True:
            took.append(await _called(sender, _tool()))

    streams = [asyncio.create_task(stream()) for _ in range(plan.streams)]
    await asyncio.sleep(1)
    try:
        yield took
    finally:
        for each in streams:
            each.cancel()
        await asyncio.wait(streams)
    # One that failed sent nothing more, and the times beside it would be no figure.
    for each in streams:
        if not each.cancelled():
            each.result()


async def _told(client: EngineClient, schemas: int) -> dict[str, float]:
    """How long a schema takes whose first compilation was another tenant's, or one's own, as a
    fraction of that first time: medians."""
    own, others = [], []
    for _ in range(schemas):
        tool, first, second = _tool(), asker_of(client, "first"), asker_of(client, "second")
        new = await _called(first, tool)
        own.append(await _called(first, tool) / new)
        others.append(await _called(second, tool) / new)
    median = statistics.median
    return {"own": round(median(own), 3), "another_tenants": round(median(others), 3)}


def _tool() -> dict[str, Any]:
    """A strict tool that nobody has sent."""
    lengths = random.sample(range(_SHORTEST, _LONGEST), 2)
    properties = {f"p{secrets.token_hex(4)}": {"type": "string", "maxLength": n} for n in lengths}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": "find_order", "strict": True, "parameters": schema}
    return {"type": "function", "function": function}


async def _called(asker: Asker, tool: dict[str, Any]) -> float:
    """Seconds to the end of an answer of one token that has to be a call."""
    job = Job(
        secrets.token_hex(16),
        _QUESTION,
        1,
        {"temperature": 0},
        tools=[tool],
        tool_controls={"tool_choice": "required"},
    )
    begun = time.perf_counter()
    async for _ in asker.client.of(asker.ctx, asker.namespace).stream(job):
        pass
    return time.perf_counter() - begun
