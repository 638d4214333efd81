"""The tenants' data keys in the database, wrapped by the platform's. Deleting one is deletion."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.errors import TenantSuspendedError
from isolation.sealing import KEY_BYTES, SealError, TenantCipher
from isolation.tenant_id import TenantId
from serving.control.database import Database, utc_now
from serving.control.tables import DataKeyRow, TenantRow
from serving.control.tenants import DELETED, DELETING
from serving.errors import StartupError

_REMEMBERED = 10_000


class DataKeys:
    """All tenants' keys. `wrapping`: 32 bytes that are not in the database."""

    def __init__(self, database: Database, wrapping: bytes) -> None:
        self._database = database
        self._wrapping = wrapping
        self._known: OrderedDict[TenantId, TenantCipher] = OrderedDict()

    async def cipher(self, ctx: TenantContext) -> TenantCipher:
        """The tenant's own; its key is made at the first use.

        Raises:
            TenantSuspendedError: the tenant is deleted, and its key with it.
        """
        tenant = require_tenant(ctx, "the data keys").tenant_id
        known = self._known.get(tenant)
        if known is None:
            known = TenantCipher(tenant, await self._key(tenant))
            self._remember(tenant, known)
        return known

    async def verify(self, operator: OperatorContext) -> None:
        """Open one of the keys, at start.

        Raises:
            StartupError: the master key is not the one that wrapped them.
        """
        require_operator(operator, "the data keys")
        async with self._database.transaction() as session:
            row = (await session.scalars(select(DataKeyRow).limit(1))).first()
        if row is not None:
            self._unwrapped(row)

    def forget(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Drop the key from memory; `TenantRegistry.finish_deletion` deletes it."""
        require_operator(operator, "the data keys")
        self._known.pop(tenant, None)

    def _remember(self, tenant: TenantId, cipher: TenantCipher) -> None:
        self._known[tenant] = cipher
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    async def _key(self, tenant: TenantId) -> bytes:
        row = await self._row(tenant)
        if row is None:
            # Else another request of the tenant has just made it.
            with suppress(IntegrityError):
                await self._make(tenant)
            row = await self._row(tenant)
            assert row is not None
        return self._unwrapped(row)

    async def _row(self, tenant: TenantId) -> DataKeyRow | None:
        async with self._database.transaction() as session:
            return await session.get(DataKeyRow, tenant)

    async def _make(self, tenant: TenantId) -> None:
        wrapped = self._wrapper(tenant).seal_bytes(secrets.token_bytes(KEY_BYTES))
        async with self._database.transaction() as session:
            owner = await session.get(TenantRow, tenant)
            if owner is not None and owner.state in (DELETING, DELETED):
                raise TenantSuspendedError
            session.add(DataKeyRow(tenant_id=tenant, wrapped=wrapped, created_at=utc_now()))

    def _unwrapped(self, row: DataKeyRow) -> bytes:
        try:
            return self._wrapper(TenantId(row.tenant_id)).open_bytes(row.wrapped)
        except SealError:
            raise StartupError(
                "The master key is not the one that this database's data keys were wrapped with. "
                "Set BULKHEAD_MASTER_KEY to that one, or restore its key file."
            ) from None

    def _wrapper(self, tenant: TenantId) -> TenantCipher:
        return TenantCipher(tenant, self._wrapping)
