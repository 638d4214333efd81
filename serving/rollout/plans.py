"""What the tenants' bare names mean, remembered for a moment: it is asked with each request."""

from __future__ import annotations

import time
from collections.abc import Mapping

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.tenant_id import TenantId
from serving.rollout.ports import RolloutIndex
from serving.rollout.records import Rollout

# How long a gateway may go on with what another one has changed.
_SECONDS = 1.0
_REMEMBERED = 10_000

Plan = Mapping[str, Rollout]


class RolloutPlans:
    """Everybody's names that follow a rollout."""

    def __init__(self, index: RolloutIndex) -> None:
        self._index = index
        self._known: dict[TenantId, tuple[float, Plan]] = {}

    async def of(self, ctx: TenantContext) -> Plan:
        """The tenant's, by name; at most a second old. The same query, whatever is asked for."""
        tenant = require_tenant(ctx, "the rollouts").tenant_id
        known = self._known.get(tenant)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        plan = {one.proposal.name: one for one in await self._index.of(ctx).holding()}
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[tenant] = (time.monotonic() + _SECONDS, plan)
        return plan

    def changed(self, tenant: TenantId) -> None:
        """Remember nothing of a tenant whose rollouts this gateway has changed."""
        self._known.pop(tenant, None)

    def forget(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Drop what is remembered of a tenant."""
        require_operator(operator, "the remembered rollouts")
        self.changed(tenant)
