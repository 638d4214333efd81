"""What rollouts need of a database. `serving/control` keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from isolation.context import OperatorContext, TenantContext
from isolation.tenant_id import TenantId
from serving.rollout.figures import Figures
from serving.rollout.records import Change, Proposal, Rollout, Step


class TenantRolloutIndex(Protocol):
    """One tenant's rollouts."""

    async def add(self, proposal: Proposal, who: str) -> Rollout:
        """Keep a proposal; from now on the adapter's name follows it.

        Raises:
            RolloutRunsError: the adapter has an open one.
            TenantSuspendedError: the tenant is being deleted.
        """

    async def holding(self) -> Sequence[Rollout]:
        """Those that adapters' names follow: at most one for each name."""

    async def list(self, name: str) -> Sequence[Rollout]:
        """All of an adapter, the oldest first."""

    async def steps(self, rollout: Rollout) -> Sequence[Step]:
        """Its audit trail, the oldest first."""

    async def figures(self, rollout: Rollout) -> Figures:
        """What was counted of it on all gateways."""

    async def add_figures(self, rollout: Rollout, writer: str, figures: Figures) -> bool:
        """Put what `writer` has counted in all, in place of what it has put before.

        Whether the rollout runs; nothing is put otherwise.
        """

    async def change(self, rollout: Rollout, change: Change) -> Rollout:
        """Change what was read, and write it into the audit trail, both or neither.

        Raises:
            RolloutStateError: there is no such way, or somebody else changed it meanwhile.
        """


class RolloutIndex(Protocol):
    """Everybody's rollouts. Bind it first; what is the operator's takes an OperatorContext."""

    def of(self, ctx: TenantContext) -> TenantRolloutIndex:
        """The tenant's own."""

    def acting_for(self, operator: OperatorContext, tenant: TenantId) -> TenantRolloutIndex:
        """A tenant's own, for its operator."""

    async def everybodys(self, operator: OperatorContext) -> Sequence[Rollout]:
        """All rollouts of all tenants."""

    async def running(self, operator: OperatorContext) -> Sequence[Rollout]:
        """Those that run."""

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Forget all of a tenant's, with their figures and audit trails."""
