"""The tenants' cache beside SGLang's own: hits in chats, hits in a flood, and what it costs.

All sides run at once and are asked in turns, so that they see the same moments of the machine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from evals.performance import cost, flood, public_prefix
from evals.performance.engine_side import (
    Progress,
    asker_of,
    random_words,
    running_sides,
    stock,
)
from isolation.testing.contexts import operator_for_tests
from serving.engine.client import EngineClient
from serving.engine.launch import Worker


@dataclass(frozen=True, slots=True)
class Plan:
    """How much. All chats together fit the pool, a flood does not."""

    tenants: int = 20
    turns: int = 6
    flood: flood.Flood = field(default_factory=flood.Flood)
    rounds: int = 40


async def measure(worker: Worker, plan: Plan, progress: Progress) -> dict[str, Any]:
    """Hit rates and speeds of every side."""
    async with running(worker, progress) as sides:
        return await measured(sides, plan, progress)


@asynccontextmanager
async def running(
    worker: Worker, progress: Progress
) -> AsyncGenerator[dict[str, EngineClient], None]:
    """SGLang as it is, and our engine with scrubbing on and off."""
    ours = {"scrub_off": False, "scrub_on": True}
    # Else faster kernels would hide what tenancy costs.
    plain = replace(worker, kernels="stock")
    async with running_sides(plain, progress, ours, {"stock": stock}) as sides:
        yield sides


async def measured(
    sides: dict[str, EngineClient], plan: Plan, progress: Progress
) -> dict[str, Any]:
    """Hit rates and speeds of sides that run."""
    result: dict[str, Any] = {"chats": {}, "flood": {}}
    for what, workload in (("chats", _chats), ("flood", _flood)):
        for name in ("stock", "scrub_on"):
            progress(f"{what}: {name}")
            await sides[name].ask(operator_for_tests(), "POST /flush_cache")
            result[what][name] = await workload(sides[name], plan)
    result["released_slots"] = {}
    for name in ("scrub_on", "scrub_off"):
        progress(f"released slots: {name}")
        result["released_slots"][name] = await _released(sides[name], plan)
    newcomers = public_prefix.Newcomers(max(1, plan.tenants // 2))
    result["public"] = await public_prefix.measured(sides["scrub_on"], newcomers, progress)
    return result | {"speed": await cost.speed(sides, plan.rounds, progress)}


async def _chats(client: EngineClient, plan: Plan) -> dict[str, Any]:
    """Multi-turn chats of many tenants in turns: the part of all later prompts that was a hit."""
    chats = [
        (asker_of(client, f"chat-{number}"), [{"role": "system", "content": random_words(30)}])
        for number in range(plan.tenants)
    ]
    cached = prompts = 0
    for turn in range(plan.turns):
        for asker, messages in chats:
            messages.append({"role": "user", "content": random_words(10)})
            answer = await asker.ask(messages, 6)
            messages.append({"role": "assistant", "content": answer.text})
            if turn:
                cached += answer.usage.cached
                prompts += answer.usage.prompt
    return {"hit_rate": round(cached / prompts, 4), "prompt_tokens": prompts}


async def _flood(client: EngineClient, plan: Plan) -> dict[str, Any]:
    return await flood.measured(client, plan.flood)


async def _slots(client: EngineClient) -> dict[str, int]:
    """Free slots of the pool, and how many of them hold anything."""
    audit = await client.ask(operator_for_tests(), "GET /bulkhead/v1/audit")
    return {key: sum(rank[key] for rank in audit["ranks"]) for key in ("free", "dirty")}


async def _released(client: EngineClient, plan: Plan) -> dict[str, int]:
    """What a flood leaves in the slots that it had to give up. Without scrubbing that is what
    tenants wrote: the control."""
    await client.ask(operator_for_tests(), "POST /flush_cache")
    async with flood.flooding(client, plan.flood):
        pass
    return await _slots(client)
