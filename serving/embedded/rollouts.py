"""Rollouts, put together: kept beside the data, watched beside the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from isolation.context import OperatorContext
from serving.adapters.ports import AdapterIndex
from serving.control.adapters import SqlAdapterIndex
from serving.control.database import Database
from serving.control.deletion import TenantDeletion
from serving.control.rollouts import SqlRolloutIndex
from serving.rollout.assignment import Assigner
from serving.rollout.judge import RolloutJudge
from serving.rollout.ledger import FigureLedger
from serving.rollout.plans import RolloutPlans
from serving.rollout.ports import RolloutIndex
from serving.rollout.service import Rollouts
from serving.rollout.trials import TrialParts, Trials

log = structlog.get_logger(__name__)

_EVERY = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class RolloutStore:
    """Rollouts as they are kept. There also where adapters are switched off: what was kept before
    is deleted with its tenant."""

    index: RolloutIndex
    adapters: AdapterIndex
    plans: RolloutPlans
    rollouts: Rollouts

    @classmethod
    def over(cls, database: Database) -> RolloutStore:
        """The rollouts in a database."""
        index, adapters = SqlRolloutIndex(database), SqlAdapterIndex(database)
        plans = RolloutPlans(index)
        return cls(index, adapters, plans, Rollouts(index, adapters, plans))


@asynccontextmanager
async def open_trials(
    store: RolloutStore, operator: OperatorContext, key: bytes, deletion: TenantDeletion
) -> AsyncGenerator[Trials, None]:
    """Requests' part in rollouts; what they count is written and looked at while the block runs.

    key: of the assignment, the same on all gateways.
    """
    ledger = FigureLedger(store.index)
    deletion.reaches(ledger)
    judge = RolloutJudge(operator, store.index, store.adapters, store.plans)
    trials = Trials(operator, TrialParts(store.plans, Assigner(key), ledger, judge))
    watching = asyncio.create_task(_watch(trials), name="rollouts")
    try:
        yield trials
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await _kept(trials)


async def _watch(trials: Trials) -> None:
    while True:
        await _kept(trials)
        await asyncio.sleep(_EVERY)


async def _kept(trials: Trials) -> None:
    try:
        await trials.keep()
    except Exception as error:
        # The database is away: there is a next time.
        log.warning("rollouts_not_kept", kind=type(error).__name__)
