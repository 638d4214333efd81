"""What the requests of a mixed load were charged, beside the time that the engine was busy.

The two know nothing of each other: charges are the plugin's, request by request; busy is the wall
time without the seconds in which the scheduler had nothing to do, by SGLang's own account.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from evals.performance.engine_side import Asker, asker_of, random_words
from isolation.testing.contexts import operator_for_tests
from serving.engine.client import EngineClient, Job
from serving.engine_plugin.stopwatch import Cost

_IDLE = re.compile(r"^sglang:scheduler_idle_seconds_total\{.*\} (\S+)$", re.MULTILINE)
# Longer than any answer gets before its reader leaves.
_ENDLESS = 5_000


@dataclass(frozen=True, slots=True)
class Mix:
    """What runs at once, of two tenants: `each` answers to short prompts, as many to long ones, and
    two times as many whose reader leaves, some after the first piece. Words are of four or five
    tokens."""

    each: int = 3
    short_words: int = 40
    long_words: int = 900
    short_answer: int = 150
    long_answer: int = 60
    left_after: int = 20


@dataclass(frozen=True, slots=True)
class Metered:
    """What every request cost, the aborted ones included. Seconds.

    costs: tenant and cost of each.
    """

    costs: Sequence[tuple[str, Cost]]
    aborted: int
    busy_seconds: float

    @property
    def metered_seconds(self) -> float:
        """All that was charged, to anybody."""
        return sum(cost.busy_seconds for _, cost in self.costs)

    def report(self) -> dict[str, Any]:
        """As the result's JSON has it."""
        return {
            "requests": len(self.costs),
            "aborted": self.aborted,
            "metered_seconds": round(self.metered_seconds, 2),
            "busy_seconds": round(self.busy_seconds, 2),
            "ratio": round(self.metered_seconds / self.busy_seconds, 4),
        }


async def measured(client: EngineClient, mix: Mix) -> Metered:
    """Run the load on an engine that does nothing else."""
    began, idle_before = await _clocks(client)
    whole = [
        *(_asked(client, "short", mix.short_words, mix.short_answer) for _ in range(mix.each)),
        *(_asked(client, "long", mix.long_words, mix.long_answer) for _ in range(mix.each)),
    ]
    left = [
        _asked(client, tenant, mix.short_words, _ENDLESS, pieces)
        for tenant, pieces in (("long", mix.left_after), ("short", 1))
        for _ in range(mix.each)
    ]
    costs = await asyncio.gather(*whole, *left)
    ended, idle = await _clocks(client)
    return Metered(costs, len(left), (ended - began) - (idle - idle_before))


async def _clocks(client: EngineClient) -> tuple[float, float]:
    """Now, and how long SGLang's scheduler had nothing to do until now, by its own account.

    It adds up when something wakes it, and at most once a second.
    """
    await asyncio.sleep(1.5)
    await client.ask(operator_for_tests(), "GET /bulkhead/v1/accounts")
    now = time.monotonic()
    await asyncio.sleep(0.2)
    metrics = await client.ask(operator_for_tests(), "GET /metrics")
    found = _IDLE.search(metrics["text"])
    if found is None:
        raise RuntimeError("the engine does not say how long it was idle")
    return now, float(found[1])


async def _asked(
    client: EngineClient, tenant: str, words: int, tokens: int, leave_after: int | None = None
) -> tuple[str, Cost]:
    messages = [{"role": "user", "content": random_words(words)}]
    job = Job(secrets.token_hex(16), messages, tokens, {"ignore_eos": True})
    cost = await cost_of(asker_of(client, tenant), job, leave_after)
    return tenant, cost


async def cost_of(asker: Asker, job: Job, leave_after: int | None = None) -> Cost:
    """What a job cost, whose reader leaves after so many pieces.

    Raises:
        RuntimeError: the engine does not say.
    """
    tenant = asker.client.of(asker.ctx, asker.namespace)
    cost, pieces = None, 0
    async with aclosing(tenant.stream(job)) as deltas:
        async for delta in deltas:
            cost = delta.cost or cost
            pieces += bool(delta.text)
            if leave_after is not None and pieces >= leave_after:
                break
    cost = cost or await tenant.settle(job)
    if cost is None:
        raise RuntimeError("the engine does not say what a request cost")
    return cost
