"""A request's part in a rollout: which version it gets, and what is noted of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from isolation.context import OperatorContext, TenantContext, require_tenant
from serving.adapters.names import parse_reference
from serving.rollout.assignment import Arm, Assigner
from serving.rollout.figures import ArmFigures
from serving.rollout.judge import RolloutJudge
from serving.rollout.ledger import FigureLedger
from serving.rollout.plans import RolloutPlans
from serving.rollout.records import Rollout, State

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """One request in a running rollout."""

    rollout: Rollout
    arm: Arm


@dataclass(frozen=True, slots=True)
class Route:
    """The name to resolve in place of the one that was asked for. `trial` None: none runs."""

    model: str
    trial: Trial | None = None


@dataclass(frozen=True, slots=True)
class TrialParts:
    """What all tenants' trials share."""

    plans: RolloutPlans
    assigner: Assigner
    ledger: FigureLedger
    judge: RolloutJudge


class Trials:
    """Everybody's trials. Bind it first."""

    def __init__(self, operator: OperatorContext, parts: TrialParts) -> None:
        self._operator = operator
        self._parts = parts

    def of(self, ctx: TenantContext) -> TenantTrials:
        """The trials of this tenant."""
        return TenantTrials(require_tenant(ctx, "the rollouts"), self._operator, self._parts)

    async def keep(self) -> None:
        """Write what was counted, and look at what runs."""
        await self._parts.ledger.flush(self._operator)
        await self._parts.judge.look_at_all()


class TenantTrials:
    """One tenant's trials."""

    def __init__(self, ctx: TenantContext, operator: OperatorContext, parts: TrialParts) -> None:
        self._ctx = ctx
        self._operator = operator
        self._parts = parts

    async def route(self, model: str, conversation: str) -> Route:
        """What a name means in this conversation. It authorizes nothing: the name that comes back
        is resolved inside the tenant, as any other."""
        plan = await self._parts.plans.of(self._ctx)
        reference = parse_reference(model)
        rollout = plan.get(reference.name)
        if rollout is None or reference.version is not None:
            return Route(model)
        if rollout.state is not State.RUNNING:
            return Route(f"{reference.name}@{rollout.serving}")
        percent = rollout.proposal.percent
        arm = self._parts.assigner.arm(self._ctx, rollout.id, conversation, percent)
        if rollout.proposal.shadow:
            # Those that the shadow will answer too are compared with it, and no others.
            trial = Trial(rollout, Arm.CONTROL) if arm is Arm.CANARY else None
            return Route(f"{reference.name}@{rollout.serving}", trial)
        return Route(f"{reference.name}@{rollout.version(arm)}", Trial(rollout, arm))

    async def observed(self, trial: Trial, figures: ArmFigures) -> None:
        """Count an answer. A leak of the canary is written and looked at before this returns."""
        self._parts.ledger.of(self._ctx).note(trial.rollout, trial.arm, figures)
        if not figures.leaks or trial.arm is not Arm.CANARY:
            return
        try:
            await self._parts.ledger.flush(self._operator)
            await self._parts.judge.look_now(trial.rollout)
        except Exception as error:
            # The answer has left; the next look finds the figures, here or in the database.
            log.warning("rollout.look_failed", kind=type(error).__name__)
