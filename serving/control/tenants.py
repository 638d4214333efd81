"""Tenants and their keys, as the operator manages them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from isolation.access import checked_groups
from isolation.context import OperatorContext, require_operator
from isolation.errors import TenantSuspendedError
from isolation.keys import IssuedKey, issue_key
from isolation.policy import Limits, limits_of, tier, with_limits
from isolation.tenant_id import TenantId
from serving.control.database import Database, utc_now
from serving.control.errors import KeyNotFoundError, TenantExistsError, TenantNotFoundError
from serving.control.tables import ApiKeyRow, MaskingPolicyRow, TenantRow

ACTIVE, SUSPENDED = "active", "suspended"
DELETING, DELETED = "deleting", "deleted"
# Probes run under this id, so no one else may.
PROBE_TENANT = TenantId("platform-probe")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as the operator sees it. limits: those of its tier, but for its own."""

    id: TenantId
    tier: str
    state: str
    limits: Limits


class TenantRegistry:
    """All tenants and keys; every function is the operator's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, operator: OperatorContext, tenant: TenantId, tier_name: str) -> None:
        """Add a tenant.

        Raises:
            TenantExistsError: the id is taken, the platform's own, or a deleted tenant's: who
                came after it would inherit its prefix-cache namespace and its bill.
            UnknownTierError: there is no such tier.
        """
        require_operator(operator, "adding a tenant")
        if tenant == PROBE_TENANT:
            raise TenantExistsError
        name = tier(tier_name).name
        row = TenantRow(id=tenant, tier=name, state=ACTIVE, created_at=utc_now())
        try:
            async with self._database.transaction() as session:
                session.add(row)
        except IntegrityError:
            raise TenantExistsError from None

    async def list(self, operator: OperatorContext) -> list[Tenant]:
        """All tenants that are not deleted, by id."""
        require_operator(operator, "listing tenants")
        there = select(TenantRow).where(TenantRow.state != DELETED).order_by(TenantRow.id)
        async with self._database.transaction() as session:
            rows = await session.scalars(there)
            return [_seen(row) for row in rows]

    async def everyone(self, operator: OperatorContext) -> Sequence[TenantId]:
        """All tenants that there ever were, deleted ones too."""
        require_operator(operator, "listing tenants")
        async with self._database.transaction() as session:
            return [TenantId(one) for one in await session.scalars(select(TenantRow.id))]

    async def has(self, operator: OperatorContext, tenant: TenantId) -> bool:
        """Whether there is one of this id that is not being deleted."""
        try:
            await self.require(operator, tenant)
        except TenantNotFoundError:
            return False
        return True

    async def require(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Raises TenantNotFoundError where there is none of this id."""
        require_operator(operator, "a tenant")
        async with self._database.transaction() as session:
            await require_existing(session, tenant)

    async def require_active(self, operator: OperatorContext, tenant: TenantId) -> None:
        """What each of a tenant's requests needs.

        Raises:
            TenantNotFoundError: there is none of this id.
            TenantSuspendedError: it is suspended.
        """
        require_operator(operator, "a tenant")
        async with self._database.transaction() as session:
            if (await require_existing(session, tenant)).state != ACTIVE:
                raise TenantSuspendedError

    async def set_suspended(
        self, operator: OperatorContext, tenant: TenantId, suspended: bool
    ) -> None:
        """Suspend a tenant, or take it back into service.

        Raises:
            TenantNotFoundError: there is none of this id.
        """
        require_operator(operator, "suspending a tenant")
        async with self._database.transaction() as session:
            row = await require_existing(session, tenant)
            row.state = SUSPENDED if suspended else ACTIVE

    async def set_limits(
        self, operator: OperatorContext, tenant: TenantId, limits: Limits | None
    ) -> Limits:
        """Give a tenant limits of its own, beside those that it has; None takes it back to its
        tier's. Returns what holds for its requests from now on.

        Raises:
            TenantNotFoundError: there is none of this id.
        """
        require_operator(operator, "a tenant's limits")
        async with self._database.transaction() as session:
            row = await require_existing(session, tenant)
            row.limits = None if limits is None else {**(row.limits or {}), **limits}
            return _seen(row).limits

    async def begin_deletion(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Refuse the tenant's requests from now on and for good; survives a kill.

        Raises:
            TenantNotFoundError: there is none of this id.
        """
        require_operator(operator, "deleting a tenant")
        async with self._database.transaction() as session:
            row = await session.get(TenantRow, tenant)
            if row is None or row.state == DELETED:
                raise TenantNotFoundError
            row.state = DELETING

    async def finish_deletion(self, operator: OperatorContext, tenant: TenantId) -> int:
        """Forget the tenant's keys, and keep its id from being given again; how many keys."""
        require_operator(operator, "deleting a tenant")
        keys = delete(ApiKeyRow).where(ApiKeyRow.tenant_id == tenant)
        async with self._database.transaction() as session:
            gone = len((await session.scalars(keys.returning(ApiKeyRow.key_id))).all())
            await session.execute(
                delete(MaskingPolicyRow).where(MaskingPolicyRow.tenant_id == tenant)
            )
            await session.execute(
                update(TenantRow).where(TenantRow.id == tenant).values(state=DELETED)
            )
        await self._database.forget_deleted()
        return gone

    async def deleting(self, operator: OperatorContext) -> Sequence[TenantId]:
        """Whose deletion was begun and not finished; asked at open."""
        require_operator(operator, "deleting a tenant")
        begun = select(TenantRow.id).where(TenantRow.state == DELETING)
        async with self._database.transaction() as session:
            return [TenantId(tenant) for tenant in await session.scalars(begun)]

    async def issue_key(
        self,
        operator: OperatorContext,
        tenant: TenantId,
        expires_in: timedelta | None = None,
        groups: Iterable[str] | None = None,
    ) -> IssuedKey:
        """A new key of a tenant; its text is in the answer and nowhere else.

        groups: it sees documents of these and of no group, and writes none. None: unrestricted.

        Raises:
            TenantNotFoundError: there is no such tenant.
            InvalidGroupError: a group's name is not acceptable.
        """
        require_operator(operator, "issuing a key")
        restricted = None if groups is None else sorted(checked_groups(groups))
        key, now = issue_key(), utc_now()
        async with self._database.transaction() as session:
            await require_existing(session, tenant)
            session.add(
                ApiKeyRow(
                    key_id=key.key_id,
                    tenant_id=tenant,
                    digest=key.digest,
                    created_at=now,
                    expires_at=now + expires_in if expires_in is not None else None,
                    groups=restricted,
                )
            )
        return key

    async def revoke_key(self, operator: OperatorContext, key_id: str) -> None:
        """Revoke a key at once and for good.

        Raises:
            KeyNotFoundError: there is none of this id.
        """
        require_operator(operator, "revoking a key")
        async with self._database.transaction() as session:
            row = await session.get(ApiKeyRow, key_id)
            if row is None:
                raise KeyNotFoundError
            row.revoked_at = row.revoked_at or utc_now()


async def require_existing(session: AsyncSession, tenant: TenantId) -> TenantRow:
    """The tenant's row.

    Raises:
        TenantNotFoundError: there is none, or it is being deleted.
    """
    row = await session.get(TenantRow, tenant)
    if row is None or row.state in (DELETING, DELETED):
        raise TenantNotFoundError
    return row


def _seen(row: TenantRow) -> Tenant:
    limits = limits_of(with_limits(tier(row.tier), row.limits))
    return Tenant(TenantId(row.id), row.tier, row.state, limits)
