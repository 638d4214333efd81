"""Rollouts as tenants and the operator begin, read and end them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isolation.context import (
    OperatorContext,
    TenantContext,
    require_operator,
    require_tenant,
    require_unrestricted,
)
from isolation.tenant_id import TenantId
from serving.adapters.errors import AdapterNotFoundError
from serving.adapters.names import Reference
from serving.adapters.ports import AdapterIndex
from serving.rollout.assignment import Arm
from serving.rollout.errors import (
    RolloutNotFoundError,
    RolloutRefusedError,
    RolloutStateError,
)
from serving.rollout.figures import ArmFigures, Figures, Scores
from serving.rollout.plans import RolloutPlans
from serving.rollout.policy import RolloutPolicy
from serving.rollout.ports import RolloutIndex, TenantRolloutIndex
from serving.rollout.records import OPEN, Change, Proposal, Rollout, State, Step

# Without a control there is nothing to compare with.
_MOST_PERCENT = 90
_MOST_VERSION = 999_999_999


@dataclass(frozen=True, slots=True)
class Report:
    """A rollout with what was counted and what was done."""

    rollout: Rollout
    figures: Figures
    steps: Sequence[Step]


class Rollouts:
    """Everybody's rollouts. Bind it first; what is the operator's takes an OperatorContext."""

    def __init__(self, index: RolloutIndex, adapters: AdapterIndex, plans: RolloutPlans) -> None:
        self._index = index
        self._adapters = adapters
        self._plans = plans

    def of(self, ctx: TenantContext) -> TenantRollouts:
        """The rollouts as this tenant sees them."""
        tenant = require_tenant(ctx, "the rollouts")
        return TenantRollouts(tenant, self._index, self._adapters, self._plans)

    async def everybodys(self, operator: OperatorContext) -> Sequence[Rollout]:
        """All rollouts of all tenants."""
        return await self._index.everybodys(operator)

    async def report(self, operator: OperatorContext, tenant: TenantId, name: str) -> Report:
        """A tenant's newest rollout of an adapter.

        Raises:
            RolloutNotFoundError: there is none.
        """
        require_operator(operator, "a tenant's rollout")
        index = self._index.acting_for(operator, tenant)
        rollout = _newest(await index.list(name))
        return Report(rollout, await index.figures(rollout), await index.steps(rollout))

    async def stop(self, operator: OperatorContext, tenant: TenantId, name: str) -> Rollout:
        """End a tenant's open rollout; its conversations go back to the control.

        Raises:
            RolloutNotFoundError: there is none.
            RolloutStateError: it is over.
        """
        index = self._index.acting_for(operator, tenant)
        rollout = _newest(await index.list(name))
        stop = _stop(rollout, f"operator {operator.operator}")
        return await _changed(self._plans, index, rollout, stop)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Forget all of a tenant's."""
        await self._index.purge(operator, tenant)


class TenantRollouts:
    """One tenant's rollouts."""

    def __init__(
        self,
        ctx: TenantContext,
        index: RolloutIndex,
        adapters: AdapterIndex,
        plans: RolloutPlans,
    ) -> None:
        self._ctx = ctx
        self._who = f"key {ctx.credential_id}"
        self._index = index.of(ctx)
        self._adapters = adapters.of(ctx)
        self._plans = plans

    async def propose(
        self,
        name: str,
        candidate: int,
        percent: float,
        policy: RolloutPolicy,
        control: int | None = None,
        *,
        shadow: bool = False,
    ) -> Rollout:
        """Propose a rollout: from now on the name means the control, whatever is uploaded.

        control: None for what the name means now. The candidate need not be uploaded yet.
        shadow: compare only; whatever it shows, the control goes on to serve.

        Raises:
            AdapterNotFoundError: there is no such adapter, or no active control.
            RolloutRefusedError: the versions or the percentage cannot be.
            RolloutRunsError: the adapter has an open one.
        """
        require_unrestricted(self._ctx)
        if control is None:
            control = await self._meant(name, candidate)
        await self._require(name, control)
        if not 1 <= candidate <= _MOST_VERSION or candidate == control:
            raise RolloutRefusedError(
                "candidate: another version than the control's.", param="candidate"
            )
        if not 0 < percent <= _MOST_PERCENT:
            raise RolloutRefusedError(
                f"percent: above 0, and at most {_MOST_PERCENT}.", param="percent"
            )
        proposal = Proposal(name, control, candidate, percent, policy, shadow)
        try:
            return await self._index.add(proposal, self._who)
        finally:
            self._plans.changed(self._ctx.tenant_id)

    async def start(self, name: str) -> Rollout:
        """Begin to send conversations to the candidate.

        Raises:
            RolloutNotFoundError: there is none.
            AdapterNotFoundError: a version is not there, or not active.
            RolloutStateError: it is not a proposal any more.
        """
        require_unrestricted(self._ctx)
        rollout = _newest(await self._index.list(name))
        for arm in Arm:
            await self._require(name, rollout.version(arm))
        if rollout.state is not State.PROPOSED:
            raise RolloutStateError
        return await self._changed(rollout, Change(State.RUNNING, self._who, ("started",)))

    async def stop(self, name: str) -> Rollout:
        """End the open rollout; its conversations go back to the control.

        Raises:
            RolloutNotFoundError: there is none.
            RolloutStateError: it is over.
        """
        require_unrestricted(self._ctx)
        rollout = _newest(await self._index.list(name))
        return await self._changed(rollout, _stop(rollout, self._who))

    async def release(self, name: str) -> Rollout:
        """After the end of a rollout, let the name mean the newest active version again.

        Raises:
            RolloutNotFoundError: there is none.
            RolloutStateError: it is not over.
        """
        require_unrestricted(self._ctx)
        rollout = _newest(await self._index.list(name))
        if rollout.state in OPEN or not rollout.holds:
            raise RolloutStateError
        change = Change(rollout.state, self._who, ("released",), holds=False)
        return await self._changed(rollout, change)

    async def score(self, name: str, version: int, scores: Sequence[float]) -> None:
        """Give a version the scores of the tenant's own evaluation, in place of earlier ones.

        Raises:
            RolloutNotFoundError: there is none.
            RolloutRefusedError: it is about another version, or a score is not between 0 and 1.
            RolloutStateError: it does not run.
        """
        require_unrestricted(self._ctx)
        rollout = _newest(await self._index.list(name))
        arms = {rollout.version(arm): arm for arm in Arm}
        if version not in arms:
            raise RolloutRefusedError("version: one of the rollout's two.", param="version")
        if not scores or not all(0 <= score <= 1 for score in scores):
            raise RolloutRefusedError("scores: numbers from 0 to 1.", param="scores")
        scored, arm = ArmFigures(scores=Scores.of(scores)), arms[version]
        figures = Figures(canary=scored) if arm is Arm.CANARY else Figures(control=scored)
        if not await self._index.add_figures(rollout, f"scores of {arm}", figures):
            raise RolloutStateError

    async def list(self, name: str) -> Sequence[Rollout]:
        """All of an adapter, the oldest first.

        Raises:
            RolloutNotFoundError: there is none.
        """
        rollouts = await self._index.list(name)
        _newest(rollouts)
        return rollouts

    async def report(self, name: str) -> Report:
        """The newest rollout of an adapter.

        Raises:
            RolloutNotFoundError: there is none.
        """
        rollout = _newest(await self._index.list(name))
        return Report(rollout, await self._index.figures(rollout), await self._index.steps(rollout))

    async def _meant(self, name: str, candidate: int) -> int:
        """The version that a name means now; of one without a rollout, beside the candidate."""
        for rollout in await self._index.holding():
            if rollout.proposal.name == name:
                return rollout.serving
        newest = [r.version for r in await self._adapters.versions(name) if r.version != candidate]
        for version in reversed(newest):
            if await self._adapters.find(Reference(name, version)) is not None:
                return version
        raise AdapterNotFoundError

    async def _changed(self, rollout: Rollout, change: Change) -> Rollout:
        return await _changed(self._plans, self._index, rollout, change)

    async def _require(self, name: str, version: int) -> None:
        known = 1 <= version <= _MOST_VERSION
        if not known or await self._adapters.find(Reference(name, version)) is None:
            raise AdapterNotFoundError


def _newest(rollouts: Sequence[Rollout]) -> Rollout:
    if not rollouts:
        raise RolloutNotFoundError
    return rollouts[-1]


async def _changed(
    plans: RolloutPlans, index: TenantRolloutIndex, rollout: Rollout, change: Change
) -> Rollout:
    try:
        return await index.change(rollout, change)
    finally:
        plans.changed(rollout.tenant)


def _stop(rollout: Rollout, who: str) -> Change:
    if rollout.state not in OPEN:
        raise RolloutStateError
    return Change(State.STOPPED, who, ("stopped",))
