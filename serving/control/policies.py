"""Masking policies as the operator sets them: one a tenant, the standard one where none is set."""

from __future__ import annotations

import time

from sqlalchemy import delete

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.masking.policy import MaskingPolicy
from isolation.tenant_id import TenantId
from serving.control.database import Database, utc_now
from serving.control.tables import MaskingPolicyRow
from serving.control.tenants import require_existing

# How long a gateway may go on with a policy that another one has replaced.
_SECONDS = 2.0
_REMEMBERED = 10_000


class PolicyRegistry:
    """All policies. `of` is a tenant's own and is asked with each request."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[TenantId, tuple[float, MaskingPolicy]] = {}

    async def of(self, ctx: TenantContext) -> MaskingPolicy:
        """The policy that holds for this tenant; at most two seconds old."""
        tenant = require_tenant(ctx, "the masking policy").tenant_id
        known = self._known.get(tenant)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        policy = await self._stored(tenant) or MaskingPolicy()
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[tenant] = (time.monotonic() + _SECONDS, policy)
        return policy

    async def get(self, operator: OperatorContext, tenant: TenantId) -> MaskingPolicy:
        """A tenant's policy.

        Raises:
            TenantNotFoundError: there is no such tenant.
        """
        require_operator(operator, "reading a policy")
        async with self._database.transaction() as session:
            await require_existing(session, tenant)
        return await self._stored(tenant) or MaskingPolicy()

    async def set(self, operator: OperatorContext, tenant: TenantId, policy: MaskingPolicy) -> None:
        """Give a tenant a policy, in place of the one that it has.

        Raises:
            TenantNotFoundError: there is no such tenant.
        """
        require_operator(operator, "setting a policy")
        row = MaskingPolicyRow(
            tenant_id=tenant, policy=policy.model_dump(mode="json"), updated_at=utc_now()
        )
        async with self._database.transaction() as session:
            await require_existing(session, tenant)
            await session.merge(row)
        self.forget(operator, tenant)

    async def reset(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Take a tenant back to the standard policy; nothing happens where it has no other."""
        require_operator(operator, "resetting a policy")
        own = delete(MaskingPolicyRow).where(MaskingPolicyRow.tenant_id == tenant)
        async with self._database.transaction() as session:
            await require_existing(session, tenant)
            await session.execute(own)
        self.forget(operator, tenant)

    def forget(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Drop what is remembered of a tenant."""
        require_operator(operator, "the remembered policies")
        self._known.pop(tenant, None)

    async def _stored(self, tenant: TenantId) -> MaskingPolicy | None:
        async with self._database.transaction() as session:
            row = await session.get(MaskingPolicyRow, tenant)
        return None if row is None else MaskingPolicy.model_validate(row.policy)
