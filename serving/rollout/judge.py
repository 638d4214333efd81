"""Looks at running rollouts, and does what their figures decide.

Any number of gateways may look at once: a decision is a change of the revision that its figures
belong to, so that one is taken and the others find it changed. Nothing is remembered between two
looks but what the database holds; a gateway that starts goes on where a dead one stopped.
"""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from isolation.context import OperatorContext
from serving.adapters.names import Reference
from serving.adapters.ports import AdapterIndex
from serving.rollout.assignment import Arm
from serving.rollout.decision import Action, Decision, decide
from serving.rollout.errors import RolloutStateError
from serving.rollout.figures import Figures
from serving.rollout.plans import RolloutPlans
from serving.rollout.ports import RolloutIndex
from serving.rollout.records import Change, Rollout, State

log = structlog.get_logger(__name__)

GATES = "gates"  # who decided, in the audit trail
_ENDS = {
    Action.GO_ON: State.RUNNING,
    Action.PROMOTE: State.PROMOTED,
    Action.ROLL_BACK: State.ROLLED_BACK,
}


class RolloutJudge:
    """Decides for the operator's platform, over all tenants."""

    def __init__(
        self,
        operator: OperatorContext,
        index: RolloutIndex,
        adapters: AdapterIndex,
        plans: RolloutPlans,
    ) -> None:
        self._operator = operator
        self._index = index
        self._adapters = adapters
        self._plans = plans

    async def look(self, rollout: Rollout) -> Rollout:
        """Look at a rollout that runs; the rollout as it is then, as far as this gateway knows."""
        gone = await self._gone(rollout)
        if gone is not None:
            return await self._changed(rollout, gone)
        index = self._index.acting_for(self._operator, rollout.tenant)
        figures = await index.figures(rollout)
        assert rollout.started_at is not None
        seconds = (datetime.now(UTC) - rollout.started_at).total_seconds()
        decision = decide(figures, rollout.proposal.policy, seconds, rollout.looks)
        if decision.action is Action.GO_ON and decision.look == rollout.looks:
            return rollout
        return await self._changed(rollout, _change(rollout, decision, figures))

    async def look_now(self, read_before: Rollout) -> None:
        """Look at a rollout that was read some time ago, as it is now, if it still runs."""
        index = self._index.acting_for(self._operator, read_before.tenant)
        for rollout in await index.holding():
            if rollout.id == read_before.id and rollout.state is State.RUNNING:
                await self.look(rollout)

    async def look_at_all(self) -> int:
        """Look at every rollout that runs; how many were changed."""
        changed = 0
        for rollout in await self._index.running(self._operator):
            changed += await self.look(rollout) != rollout
        return changed

    async def _gone(self, rollout: Rollout) -> Change | None:
        """What to do if a version was revoked or deleted."""
        adapters = self._adapters.acting_for(self._operator, rollout.tenant)
        for arm, after in ((Arm.CONTROL, State.STOPPED), (Arm.CANARY, State.ROLLED_BACK)):
            version = Reference(rollout.proposal.name, rollout.version(arm))
            if await adapters.find(version) is None:
                return Change(after, GATES, (f"{arm}_gone",))
        return None

    async def _changed(self, rollout: Rollout, change: Change) -> Rollout:
        index = self._index.acting_for(self._operator, rollout.tenant)
        try:
            changed = await index.change(rollout, change)
        except RolloutStateError:
            # Another gateway was quicker; what it did holds.
            return rollout
        else:
            log.info(
                "rollout.decided",
                tenant=rollout.tenant,
                rollout=rollout.id,
                state=str(changed.state),
                why=change.why,
            )
            return changed
        finally:
            self._plans.changed(rollout.tenant)


def _change(rollout: Rollout, decision: Decision, figures: Figures) -> Change:
    after = _ENDS[decision.action]
    if rollout.proposal.shadow and after is State.PROMOTED:
        # It has answered nobody yet: a comparison ends, and does not promote.
        after = State.STOPPED
    return Change(after, GATES, decision.reasons, looks=decision.look, figures=figures)
