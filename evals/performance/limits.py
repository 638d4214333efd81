"""How much of a minute's tokens a rush on several gateways gets: reserved before, or counted after.

The second is what a gateway does that compares what was used with the limit, lets the request in,
and adds what it used when it is over: all that are let in meanwhile see the same account.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any

from isolation.context import TenantContext
from isolation.policy import Limits
from isolation.testing.contexts import tenant_for_tests
from serving.admission.rates import ValkeyRates
from serving.admission.valkey import connect, valkey_socket
from serving.embedded.valkey import open_valkey
from serving.errors import TokenRateError
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """clients: over all gateways, each with one request at a time, until it was refused so often in
    a row. prompt, answer: a request's tokens; of the answer, it uses any part. seconds: the longest
    that a request takes."""

    limit: int = 50_000
    gateways: int = 4
    clients: int = 128
    refusals: int = 20
    prompt: int = 300
    answer: int = 400
    seconds: float = 0.1
    rounds: int = 5
    pairs: int = 2_000


@dataclass(slots=True)
class _Served:
    """Of one round."""

    tokens: int = 0
    requests: int = 0
    refused: int = 0


async def measure(plan: Plan, progress: Callable[[str], object]) -> dict[str, Any]:
    """Shares of the limit of each round, and what counting costs a request that is alone."""
    async with _gateways(plan.gateways) as gateways:
        sides: dict[str, list[_Served]] = {"reserved": [], "counted_after": []}
        for number in range(plan.rounds):
            for side, rounds in sides.items():
                progress(f"round {number + 1} of {plan.rounds}: {side}")
                rounds.append(await _rush(gateways, plan, side, number))
        progress("alone")
        alone = await _alone(gateways[0], plan.pairs)
    return {
        "measure": "tokens served of a limit of tokens a minute, in one minute",
        "plan": asdict(plan),
        "sides": {side: _summary(rounds, plan.limit) for side, rounds in sides.items()},
        "reserve_and_settle_ms": {"p50": round(1_000 * statistics.median(alone), 3)},
    }


def _summary(rounds: list[_Served], limit: int) -> dict[str, Any]:
    shares = [round(one.tokens / limit, 4) for one in rounds]
    return {
        "most": max(shares),
        "least": min(shares),
        "rounds": [asdict(one) for one in rounds],
    }


@asynccontextmanager
async def _gateways(count: int) -> AsyncGenerator[list[ValkeyRates], None]:
    """Each with connections of its own to one Valkey."""
    with TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        async with open_valkey(settings), AsyncExitStack() as stack:
            socket = valkey_socket(settings.data_dir / "run")
            clients = [connect(socket) for _ in range(count)]
            for client in clients:
                stack.push_async_callback(client.aclose)
            yield [ValkeyRates(client, _nothing) for client in clients]


async def _nothing(ctx: TenantContext, since: datetime) -> int:
    return 0


async def _rush(gateways: list[ValkeyRates], plan: Plan, side: str, seed: int) -> _Served:
    """All clients at once, in a minute that nobody has used yet."""
    served = _Served()
    limits = Limits(tokens_per_minute=plan.limit, requests_per_minute=None, tokens_per_month=None)
    ctx = tenant_for_tests(f"{side.replace('_', '-')}-{seed}", limits=limits)
    held = plan.prompt + plan.answer if side == "reserved" else 1

    async def client(number: int) -> None:
        random, row = Random(f"{seed} {number}"), 0
        mine = gateways[number % len(gateways)].of(ctx)
        while row < plan.refusals:
            hold = mine.hold(token_hex(16))
            try:
                await hold.reserve(held)
            except TokenRateError:
                served.refused, row = served.refused + 1, row + 1
                await asyncio.sleep(plan.seconds / 4)
                continue
            row = 0
            await asyncio.sleep(random.uniform(0.1, 1) * plan.seconds)
            used = plan.prompt + random.randint(0, plan.answer)
            served.tokens, served.requests = served.tokens + used, served.requests + 1
            await hold.settle(used)

    await asyncio.gather(*(client(number) for number in range(plan.clients)))
    return served


async def _alone(gateway: ValkeyRates, pairs: int) -> list[float]:
    """Seconds of each, of a tenant with all three limits."""
    limits = Limits(requests_per_minute=10**9, tokens_per_minute=10**12, tokens_per_month=10**12)
    mine = gateway.of(tenant_for_tests("alone", limits=limits))
    seconds = []
    for _ in range(pairs):
        begun = time.perf_counter()
        hold = mine.hold(token_hex(16))
        await hold.reserve(700)
        await hold.settle(500)
        seconds.append(time.perf_counter() - begun)
    return seconds
