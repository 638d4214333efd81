"""Rollouts on a real database: two tenants with a `support` each, and one whole rollout.

`python -m tests.control.rollouts URL NTH` runs that rollout and kills itself at its NTH statement.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import event

from isolation.context import TenantContext
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.adapters.ports import ACTIVE, AdapterRecord
from serving.control.adapters import SqlAdapterIndex
from serving.control.database import Database
from serving.control.rollouts import SqlRolloutIndex
from serving.control.tenants import TenantRegistry
from serving.rollout.figures import ArmFigures, Figures
from serving.rollout.histogram import Histogram
from serving.rollout.judge import RolloutJudge
from serving.rollout.plans import RolloutPlans
from serving.rollout.policy import RolloutPolicy
from serving.rollout.records import OPEN, Rollout, State
from serving.rollout.service import Rollouts

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
POLICY = RolloutPolicy(minimum_requests=50, window_requests=100, window_seconds=0)


@dataclass(frozen=True, slots=True)
class Shop:
    """What a gateway has of rollouts."""

    database: Database
    adapters: SqlAdapterIndex
    index: SqlRolloutIndex
    rollouts: Rollouts
    judge: RolloutJudge

    @classmethod
    def over(cls, database: Database) -> Shop:
        adapters, index = SqlAdapterIndex(database), SqlRolloutIndex(database)
        plans = RolloutPlans(index)
        judge = RolloutJudge(OPERATOR, index, adapters, plans)
        return cls(database, adapters, index, Rollouts(index, adapters, plans), judge)

    async def upload(self, ctx: TenantContext, name: str = "support") -> int:
        own, upload = self.adapters.of(ctx), secrets.token_hex(16)
        version = await own.begin(name, upload, "f" * 64, 100)
        await own.commit(
            AdapterRecord(ctx.tenant_id, name, version, upload, ACTIVE, "f" * 64, b"m", b"s", b"k")
        )
        return version

    async def running(self, ctx: TenantContext = FJELLVIK) -> Rollout:
        await self.rollouts.of(ctx).propose("support", 2, 10, POLICY)
        return await self.rollouts.of(ctx).start("support")


async def prepared(database: Database) -> Shop:
    shop = Shop.over(database)
    for ctx in (FJELLVIK, VOLTBAY):
        await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
        for _ in range(2):
            await shop.upload(ctx)
    return shop


def arm(requests: int, ttft: float = 0.2, gap: float = 0.05, **counts: int) -> ArmFigures:
    """An arm whose answers all took these seconds."""
    ttfts, gaps = (Histogram.of(*[seconds] * requests) for seconds in (ttft, gap))
    return ArmFigures(requests, ttft=ttfts, gaps=gaps, **counts)


GOOD = Figures(arm(900), arm(100))
BAD = Figures(arm(900), arm(100, errors=40))
# All else is the control's.
LATE = Figures(arm(900), arm(100, ttft=0.4))
HALTING = Figures(arm(900), arm(100, gap=0.1))
LEAK = Figures(arm(1), arm(1, leaks=1))


async def go_on(shop: Shop, figures: Figures = GOOD) -> State:
    """Whatever was done of a rollout before, do the rest."""
    own, index = shop.rollouts.of(FJELLVIK), shop.index.of(FJELLVIK)
    rollouts = await index.list("support")
    rollout = rollouts[-1] if rollouts else await own.propose("support", 2, 10, POLICY)
    if rollout.state is State.PROPOSED:
        rollout = await own.start("support")
    while rollout.state in OPEN:
        await index.add_figures(rollout, "gateway", figures)
        await shop.judge.look_at_all()
        rollout = (await index.list("support"))[-1]
    return rollout.state


def at_statement(database: Database, nth: int, do: Callable[[], None]) -> Callable[[], None]:
    """Do something before the nth statement or commit from now on; what is returned ends that."""
    calls, engine = 0, database._engine.sync_engine

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == nth:
            do()

    def restored() -> None:
        for name in ("before_cursor_execute", "commit"):
            event.remove(engine, name, count)

    for name in ("before_cursor_execute", "commit"):
        event.listen(engine, name, count)
    return restored


async def _main(url: str, nth: str) -> None:
    database = await Database.open(url)
    at_statement(database, int(nth), lambda: os.kill(os.getpid(), signal.SIGKILL))
    await go_on(Shop.over(database))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
