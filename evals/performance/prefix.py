"""The tenants' cache beside SGLang's own: hits in chats, hits after a flood, and what it costs.

All sides run at once and are asked in turns, so that they see the same moments of the machine.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from evals.performance import public_prefix
from evals.performance.engine_side import (
    Answer,
    Asker,
    Progress,
    in_turns,
    ratio_of_rounds,
    running_sides,
    stock,
)
from isolation.namespaces import Namespace
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.engine.client import EngineClient
from serving.engine.launch import Worker


@dataclass(frozen=True, slots=True)
class Plan:
    """How much. Words are of four or five tokens: all chats together fit the pool, a flood does
    not."""

    tenants: int = 20
    turns: int = 6
    victims: int = 5
    flood_prompts: int = 30
    rounds: int = 7


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
    result["released_slots"] = await _released(sides, plan, progress)
    newcomers = public_prefix.Newcomers(max(1, plan.tenants // 2))
    result["public"] = await public_prefix.measured(sides["scrub_on"], newcomers, progress)
    return result | {"speed": await _speed(sides, plan, progress)}


def _asker(client: EngineClient, name: str) -> Asker:
    return Asker(client, tenant_for_tests(name), Namespace(secrets.token_hex(32)))


def _words(count: int) -> str:
    return " ".join(secrets.token_hex(2) for _ in range(count))


async def _chats(client: EngineClient, plan: Plan) -> dict[str, Any]:
    """Multi-turn chats of many tenants in turns: the part of all later prompts that was a hit."""
    chats = [
        (_asker(client, f"chat-{number}"), [{"role": "system", "content": _words(30)}])
        for number in range(plan.tenants)
    ]
    cached = prompts = 0
    for turn in range(plan.turns):
        for asker, messages in chats:
            messages.append({"role": "user", "content": _words(10)})
            answer = await asker.ask(messages, 6)
            messages.append({"role": "assistant", "content": answer.text})
            if turn:
                cached += answer.usage.cached
                prompts += answer.usage.prompt
    return {"hit_rate": round(cached / prompts, 4), "prompt_tokens": prompts}


async def _flood(client: EngineClient, plan: Plan) -> dict[str, Any]:
    """Quiet tenants' hit rate and time to the first token, alone, and after one other tenant filled
    the pool and more."""
    victims = [
        (_asker(client, f"victim-{number}"), [{"role": "user", "content": _words(150)}])
        for number in range(plan.victims)
    ]
    for asker, messages in victims:
        await asker.ask(messages, 1)
    alone = [await asker.ask(messages, 1) for asker, messages in victims]
    loud = _asker(client, "loud")
    flood = 0
    for _ in range(plan.flood_prompts):
        answer = await loud.ask([{"role": "user", "content": _words(160)}], 1)
        flood += answer.usage.prompt
    after = [await asker.ask(messages, 1) for asker, messages in victims]
    return {
        "alone": _rate(alone),
        "after": _rate(after),
        "longest_first_token_alone_ms": _longest(alone),
        "longest_first_token_after_ms": _longest(after),
        "flood_tokens": flood,
    }


async def _released(
    sides: dict[str, EngineClient], plan: Plan, progress: Progress
) -> dict[str, dict[str, int]]:
    """Free slots after a flood, and how many of them hold anything; without scrubbing: the control,
    which shows that what is read is what tenants wrote."""
    found: dict[str, dict[str, int]] = {}
    for name in ("scrub_on", "scrub_off"):
        progress(f"released slots: {name}")
        await sides[name].ask(operator_for_tests(), "POST /flush_cache")
        await _flood(sides[name], plan)
        audit = await sides[name].ask(operator_for_tests(), "GET /bulkhead/v1/audit")
        ranks = audit["ranks"]
        found[name] = {key: sum(rank[key] for rank in ranks) for key in ("free", "dirty")}
    return found


def _longest(answers: list[Answer]) -> float:
    return round(1_000 * max(answer.seconds for answer in answers), 1)


def _rate(answers: list[Answer]) -> float:
    cached = sum(answer.usage.cached for answer in answers)
    return round(cached / sum(answer.usage.prompt for answer in answers), 4)


async def _speed(sides: dict[str, EngineClient], plan: Plan, progress: Progress) -> dict[str, Any]:
    """Tokens per second, the median of all rounds, and each side's cost against stock."""
    phases = {"prefill": _prefill, "decode": _decode}
    rates = await in_turns(sides, phases, plan.rounds, progress)
    return {phase: compared(measured) for phase, measured in rates.items()}


def compared(measured: dict[str, list[float]]) -> dict[str, Any]:
    """Each side's median, and its cost against `stock` in the same rounds."""
    return {
        name: {
            "tokens_per_second": round(statistics.median(rates), 1),
            "cost": round(1 - ratio_of_rounds(rates, measured["stock"]), 4),
        }
        for name, rates in measured.items()
    }


async def _prefill(client: EngineClient) -> float:
    asker = _asker(client, "prefill")
    answers = [await asker.ask([{"role": "user", "content": _words(130)}], 1) for _ in range(3)]
    return sum(a.usage.prompt for a in answers) / sum(a.seconds for a in answers)


async def _decode(client: EngineClient) -> float:
    begun = time.perf_counter()
    askers = [_asker(client, f"decode-{number}") for number in range(8)]
    message = [{"role": "user", "content": _words(10)}]
    answers = await asyncio.gather(*(asker.ask(message, 24, whole=True) for asker in askers))
    tokens = sum(answer.usage.completion for answer in answers)
    return tokens / (time.perf_counter() - begun)
