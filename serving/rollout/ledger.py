"""What this gateway counted of running rollouts, and has not lost before it is in the database.

A gateway writes the sums of its own life in a row of its own, again and again: gateways never
write one row, a repeated write does no harm, and who starts anew begins a new row.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field

from isolation.context import (
    OperatorContext,
    TenantContext,
    require_operator,
    require_same_tenant,
    require_tenant,
)
from isolation.tenant_id import TenantId
from serving.rollout.assignment import Arm
from serving.rollout.figures import ArmFigures, Figures
from serving.rollout.ports import RolloutIndex
from serving.rollout.records import Rollout


@dataclass(slots=True)
class _Counted:
    rollout: Rollout
    figures: Figures = field(default_factory=Figures)
    written: Figures | None = None


class FigureLedger:
    """Everybody's counts. Bind it first."""

    def __init__(self, index: RolloutIndex) -> None:
        self._index = index
        self._writer = secrets.token_hex(16)
        self._counted: dict[str, _Counted] = {}
        self._writing = asyncio.Lock()

    def of(self, ctx: TenantContext) -> TenantFigures:
        """The counts as this tenant adds to them."""
        return TenantFigures(require_tenant(ctx, "a rollout's figures"), self._counted)

    async def flush(self, operator: OperatorContext) -> None:
        """Write what is new. What cannot be written now is written by the next call."""
        require_operator(operator, "all rollouts' figures")
        # One at a time: an older sum must not come after a newer one.
        async with self._writing:
            await self._flush(operator)

    async def _flush(self, operator: OperatorContext) -> None:
        for counted in list(self._counted.values()):
            figures = counted.figures
            if figures == counted.written:
                continue
            index = self._index.acting_for(operator, counted.rollout.tenant)
            if await index.add_figures(counted.rollout, self._writer, figures):
                counted.written = figures
            else:
                self._counted.pop(counted.rollout.id, None)

    def forget(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Drop what is counted of a tenant."""
        require_operator(operator, "all rollouts' figures")
        for counted in list(self._counted.values()):
            if counted.rollout.tenant == tenant:
                del self._counted[counted.rollout.id]


class TenantFigures:
    """One tenant's counts."""

    def __init__(self, ctx: TenantContext, counted: dict[str, _Counted]) -> None:
        self._ctx = ctx
        self._counted = counted

    def note(self, rollout: Rollout, arm: Arm, observed: ArmFigures) -> None:
        """Count one answer."""
        require_same_tenant(self._ctx, rollout.tenant, "a rollout's figures")
        counted = self._counted.setdefault(rollout.id, _Counted(rollout))
        canary = arm is Arm.CANARY
        counted.figures += Figures(canary=observed) if canary else Figures(control=observed)
