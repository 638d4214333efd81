"""Each tenant's own random key, wrapped by the master key. What it encrypts dies with it.

Nothing is kept in memory: a key that was destroyed opens nothing from that moment on, in any
process. Whoever needs a key asks for one derived for a purpose; the key itself is shown to nobody.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.errors import TenantSuspendedError
from isolation.tenant_id import TenantId
from serving.control.database import Database, utc_now
from serving.control.tables import TenantKeyRow, TenantRow
from serving.control.tenants import DELETED, DELETING
from serving.key_wrapping import KeyManagement, new_key


class TenantKeys:
    """Everybody's keys. Bind it first; what is the operator's takes an OperatorContext."""

    def __init__(self, database: Database, master: KeyManagement) -> None:
        self._database = database
        self._master = master

    def of(self, ctx: TenantContext) -> OwnKey:
        """The key of this tenant."""
        tenant = require_tenant(ctx, "the tenant's key").tenant_id
        return OwnKey(self._database, self._master, tenant)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> bool:
        """Delete a tenant's key, for good; whether there was one. Its tenant is being deleted, or
        the next use makes another one.
        """
        require_operator(operator, "destroying a tenant's key")
        mine = delete(TenantKeyRow).where(TenantKeyRow.tenant_id == tenant)
        async with self._database.transaction() as session:
            gone = (await session.scalars(mine.returning(TenantKeyRow.tenant_id))).first()
        await self._database.forget_deleted()
        return gone is not None

    async def verify(self, operator: OperatorContext) -> None:
        """Open one of the keys, before serving.

        Raises:
            KeyNotOpenedError: the master key is not the one that wrapped it.
        """
        require_operator(operator, "the tenants' keys")
        async with self._database.transaction() as session:
            row = (await session.scalars(select(TenantKeyRow).limit(1))).first()
        if row is not None:
            await self._master.unwrap(row.wrapped, _context(TenantId(row.tenant_id)))

    async def rewrap(self, operator: OperatorContext, previous: KeyManagement) -> int:
        """Wrap by this master key what `previous` wrapped; how many keys. Run before serving.

        Raises:
            KeyNotOpenedError: one does not open with it; all are as they were.
        """
        require_operator(operator, "rotating the master key")
        theirs = select(TenantKeyRow).where(TenantKeyRow.kms_key_id == previous.key_id)
        async with self._database.transaction() as session:
            rows = (await session.scalars(theirs)).all()
            for row in rows:
                context = _context(TenantId(row.tenant_id))
                key = await previous.unwrap(row.wrapped, context)
                row.wrapped = await self._master.wrap(key, context)
                row.kms_key_id = self._master.key_id
        await self._database.forget_deleted()
        return len(rows)


class OwnKey:
    """One tenant's key."""

    def __init__(self, database: Database, master: KeyManagement, tenant: TenantId) -> None:
        self._database = database
        self._master = master
        self._tenant = tenant

    async def derived(self, purpose: str) -> bytes:
        """32 bytes for one purpose (HKDF-SHA256, RFC 5869); the key is made if there is none.

        Raises:
            TenantSuspendedError: the tenant is being deleted.
            KeyNotOpenedError: the master key is not the one that wrapped it.
        """
        wrapped = await self._wrapped() or await self._made()
        key = await self._master.unwrap(wrapped, _context(self._tenant))
        info = f"bulkhead tenant {purpose}".encode()
        return HKDF(SHA256(), 32, salt=None, info=info).derive(key)

    async def _wrapped(self) -> bytes | None:
        mine = select(TenantKeyRow.wrapped).where(TenantKeyRow.tenant_id == self._tenant)
        async with self._database.transaction() as session:
            return (await session.scalars(mine)).one_or_none()

    async def _made(self) -> bytes:
        wrapped = await self._master.wrap(new_key(), _context(self._tenant))
        row = TenantKeyRow(
            tenant_id=self._tenant,
            kms_key_id=self._master.key_id,
            wrapped=wrapped,
            created_at=utc_now(),
        )
        # Locked: between the look and the insert, a deletion could destroy the key and miss this.
        tenant = select(TenantRow).where(TenantRow.id == self._tenant).with_for_update()
        try:
            async with self._database.transaction() as session:
                owner = (await session.scalars(tenant)).one_or_none()
                if owner is None or owner.state in (DELETING, DELETED):
                    raise TenantSuspendedError
                session.add(row)
        except IntegrityError:
            # Another request made it first.
            return await self._wrapped() or b""
        return wrapped


def _context(tenant: TenantId) -> bytes:
    return b"bulkhead tenant key\0" + tenant.encode()
