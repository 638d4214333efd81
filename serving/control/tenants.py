"""Tenants and their keys, as the operator manages them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from isolation.context import OperatorContext, require_operator
from isolation.keys import IssuedKey, issue_key
from isolation.policy import tier
from isolation.tenant_id import TenantId
from serving.control.database import Database, utc_now
from serving.control.errors import KeyNotFoundError, TenantExistsError, TenantNotFoundError
from serving.control.tables import ApiKeyRow, TenantRow

ACTIVE, SUSPENDED = "active", "suspended"
# Probes run under this id, so no one else may.
PROBE_TENANT = TenantId("platform-probe")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as the operator sees it."""

    id: TenantId
    tier: str
    state: str


class TenantRegistry:
    """All tenants and keys; every function is the operator's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, operator: OperatorContext, tenant: TenantId, tier_name: str) -> None:
        """Add a tenant.

        Raises:
            TenantExistsError: the id is taken, or the platform's own.
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
        """All tenants, by id."""
        require_operator(operator, "listing tenants")
        async with self._database.transaction() as session:
            rows = await session.scalars(select(TenantRow).order_by(TenantRow.id))
            return [Tenant(TenantId(row.id), row.tier, row.state) for row in rows]

    async def set_suspended(
        self, operator: OperatorContext, tenant: TenantId, suspended: bool
    ) -> None:
        """Suspend a tenant, or take it back into service.

        Raises:
            TenantNotFoundError: there is none of this id.
        """
        require_operator(operator, "suspending a tenant")
        async with self._database.transaction() as session:
            row = await session.get(TenantRow, tenant)
            if row is None:
                raise TenantNotFoundError
            row.state = SUSPENDED if suspended else ACTIVE

    async def issue_key(
        self, operator: OperatorContext, tenant: TenantId, expires_in: timedelta | None = None
    ) -> IssuedKey:
        """A new key of a tenant; its text is in the answer and nowhere else.

        Raises:
            TenantNotFoundError: there is no such tenant.
        """
        require_operator(operator, "issuing a key")
        key, now = issue_key(), utc_now()
        async with self._database.transaction() as session:
            if await session.get(TenantRow, tenant) is None:
                raise TenantNotFoundError
            session.add(
                ApiKeyRow(
                    key_id=key.key_id,
                    tenant_id=tenant,
                    digest=key.digest,
                    created_at=now,
                    expires_at=now + expires_in if expires_in is not None else None,
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
