"""The index of adapter versions in the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, select, true, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.errors import TenantSuspendedError
from isolation.tenant_id import TenantId
from serving.adapters.errors import AdapterLimitError
from serving.adapters.names import Reference
from serving.adapters.ports import (
    ACTIVE,
    REVOKED,
    AdapterIndex,
    AdapterRecord,
    LooseFolder,
    OutOfService,
    TenantAdapterIndex,
)
from serving.control.database import Database, utc_now
from serving.control.tables import AdapterNameRow, AdapterVersionRow, LooseFolderRow, TenantRow
from serving.control.tenants import DELETED, DELETING

# A removed version's folder may be swept at once.
_LONG_AGO = datetime(2000, 1, 1)

_TENANT_STAYS = TenantRow.state.not_in((DELETING, DELETED))
# Of a version, joined with its tenant.
_IN_SERVICE = (AdapterVersionRow.state == ACTIVE, _TENANT_STAYS)


class SqlAdapterIndex(AdapterIndex):
    """All tenants' versions in one table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, ctx: TenantContext) -> TenantAdapterIndex:
        return _SqlTenantIndex(self._database, require_tenant(ctx, "the adapters").tenant_id)

    def acting_for(self, operator: OperatorContext, tenant: TenantId) -> TenantAdapterIndex:
        require_operator(operator, "a tenant's adapters")
        return _SqlTenantIndex(self._database, tenant)

    async def loose(self, operator: OperatorContext, before: datetime) -> Sequence[LooseFolder]:
        require_operator(operator, "loose folders")
        moment = before.astimezone(UTC).replace(tzinfo=None)
        query = select(LooseFolderRow).where(LooseFolderRow.since < moment)
        async with self._database.transaction() as session:
            return [_loose(row) for row in await session.scalars(query)]

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> Sequence[LooseFolder]:
        require_operator(operator, "purging adapters")
        async with self._database.transaction() as session:
            await _remove(session, _mine(tenant))
            names = delete(AdapterNameRow).where(AdapterNameRow.tenant_id == tenant)
            await session.execute(names)
            loose = select(LooseFolderRow).where(LooseFolderRow.tenant_id == tenant)
            folders = [_loose(row) for row in await session.scalars(loose)]
        await self._database.forget_deleted()
        return folders

    async def settled(self, operator: OperatorContext, upload: str) -> None:
        require_operator(operator, "loose folders")
        async with self._database.transaction() as session:
            await session.execute(delete(LooseFolderRow).where(LooseFolderRow.upload == upload))

    async def everybodys(self, operator: OperatorContext) -> Sequence[AdapterRecord]:
        require_operator(operator, "everybody's adapters")
        return await _listed(self._database, true())

    async def out_of_service(
        self, operator: OperatorContext, records: Sequence[AdapterRecord]
    ) -> OutOfService:
        require_operator(operator, "everybody's adapters")
        uploads = frozenset(record.upload for record in records)
        in_service = (
            select(AdapterVersionRow.upload)
            .join(TenantRow, TenantRow.id == AdapterVersionRow.tenant_id)
            .where(AdapterVersionRow.upload.in_(uploads), *_IN_SERVICE)
        )
        async with self._database.transaction() as session:
            ended = uploads - set(await session.scalars(in_service))
            if not ended:
                return OutOfService(frozenset(), frozenset())
            tenants = {record.tenant for record in records}
            there = select(TenantRow.id).where(TenantRow.id.in_(tenants), _TENANT_STAYS)
            gone = tenants - {TenantId(tenant) for tenant in await session.scalars(there)}
        deleted = ended & {record.upload for record in records if record.tenant in gone}
        return OutOfService(ended - deleted, deleted)

    async def signed_anew(
        self, operator: OperatorContext, record: AdapterRecord, signature: bytes
    ) -> None:
        require_operator(operator, "signing manifests anew")
        changed = update(AdapterVersionRow).where(AdapterVersionRow.upload == record.upload)
        async with self._database.transaction() as session:
            await session.execute(changed.values(signature=signature))


class _SqlTenantIndex(TenantAdapterIndex):
    def __init__(self, database: Database, tenant: TenantId) -> None:
        self._database = database
        self._tenant = tenant

    async def begin(self, name: str, upload: str, folder: str, limit: int) -> int:
        async with self._database.transaction() as session:
            version = await _next_version(session, self._tenant, name)
            await self._check(session, limit)
            session.add(
                LooseFolderRow(
                    upload=upload, tenant_id=self._tenant, folder=folder, since=utc_now()
                )
            )
        return version

    async def _check(self, session: AsyncSession, limit: int) -> None:
        # Locked: two uploads at the limit are counted one after the other.
        owner = select(TenantRow).where(TenantRow.id == self._tenant).with_for_update()
        tenant = (await session.scalars(owner)).one_or_none()
        if tenant is None or tenant.state in (DELETING, DELETED):
            raise TenantSuspendedError
        kept = select(func.count()).select_from(AdapterVersionRow).where(_mine(self._tenant))
        if (await session.execute(kept)).scalar_one() >= limit:
            raise AdapterLimitError(limit)

    async def commit(self, record: AdapterRecord) -> None:
        begun = delete(LooseFolderRow).where(
            LooseFolderRow.upload == record.upload, LooseFolderRow.tenant_id == self._tenant
        )
        row = AdapterVersionRow(
            tenant_id=self._tenant,
            name=record.name,
            version=record.version,
            upload=record.upload,
            state=record.state,
            folder=record.folder,
            manifest=record.manifest,
            signature=record.signature,
            wrapped_key=record.wrapped_key,
        )
        async with self._database.transaction() as session:
            taken = await session.scalars(begun.returning(LooseFolderRow.upload))
            if taken.first() is None:
                raise TenantSuspendedError
            session.add(row)

    async def find(self, reference: Reference) -> AdapterRecord | None:
        wanted = (
            select(AdapterVersionRow)
            .where(_mine(self._tenant, reference), *_IN_SERVICE)
            .join(TenantRow, TenantRow.id == AdapterVersionRow.tenant_id)
            .order_by(AdapterVersionRow.version.desc())
            .limit(1)
        )
        async with self._database.transaction() as session:
            row = (await session.scalars(wanted)).one_or_none()
        return None if row is None else _record(row)

    async def versions(self, name: str | None = None) -> Sequence[AdapterRecord]:
        reference = None if name is None else Reference(name)
        return await _listed(self._database, _mine(self._tenant, reference))

    async def revoke(self, reference: Reference) -> Sequence[AdapterRecord]:
        wanted = update(AdapterVersionRow).where(
            _mine(self._tenant, reference), AdapterVersionRow.state == ACTIVE
        )
        async with self._database.transaction() as session:
            marked = wanted.values(state=REVOKED).returning(AdapterVersionRow)
            return [_record(row) for row in await session.scalars(marked)]

    async def remove(self, reference: Reference) -> Sequence[AdapterRecord]:
        async with self._database.transaction() as session:
            removed = await _remove(session, _mine(self._tenant, reference))
        await self._database.forget_deleted()
        return removed

    async def settled(self, upload: str) -> None:
        mine = and_(LooseFolderRow.upload == upload, LooseFolderRow.tenant_id == self._tenant)
        async with self._database.transaction() as session:
            await session.execute(delete(LooseFolderRow).where(mine))


async def _next_version(session: AsyncSession, tenant: TenantId, name: str) -> int:
    """Counts in one statement, so that two uploads at once get two numbers."""
    dialect: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    counted = (
        dialect.insert(AdapterNameRow)
        .values(tenant_id=tenant, name=name, last_version=1)
        .on_conflict_do_update(
            index_elements=["tenant_id", "name"],
            set_={"last_version": AdapterNameRow.last_version + 1},
        )
        .returning(AdapterNameRow.last_version)
    )
    version: int = (await session.execute(counted)).scalar_one()
    return version


async def _remove(session: AsyncSession, which: ColumnElement[bool]) -> list[AdapterRecord]:
    """Version, key and signature go; what is left is where the sealed files still are."""
    gone = delete(AdapterVersionRow).where(which).returning(AdapterVersionRow)
    records = [_record(row) for row in await session.scalars(gone)]
    session.add_all(
        LooseFolderRow(
            upload=record.upload, tenant_id=record.tenant, folder=record.folder, since=_LONG_AGO
        )
        for record in records
    )
    await session.flush()
    return records


async def _listed(database: Database, which: ColumnElement[bool]) -> list[AdapterRecord]:
    order = (AdapterVersionRow.tenant_id, AdapterVersionRow.name, AdapterVersionRow.version)
    query = select(AdapterVersionRow).where(which).order_by(*order)
    async with database.transaction() as session:
        return [_record(row) for row in await session.scalars(query)]


def _mine(tenant: TenantId, reference: Reference | None = None) -> ColumnElement[bool]:
    """The tenant's versions, those that are meant: every WHERE on versions is made here."""
    own = AdapterVersionRow.tenant_id == tenant
    if reference is None:
        return own
    named = and_(own, AdapterVersionRow.name == reference.name)
    if reference.version is None:
        return named
    return and_(named, AdapterVersionRow.version == reference.version)


def _record(row: AdapterVersionRow) -> AdapterRecord:
    return AdapterRecord(
        tenant=TenantId(row.tenant_id),
        name=row.name,
        version=row.version,
        upload=row.upload,
        state=row.state,
        folder=row.folder,
        manifest=row.manifest,
        signature=row.signature,
        wrapped_key=row.wrapped_key,
    )


def _loose(row: LooseFolderRow) -> LooseFolder:
    return LooseFolder(row.upload, row.folder)
