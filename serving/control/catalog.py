"""The document catalogue in the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select, true

from isolation.access import Access
from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.tenant_id import TenantId
from rag.catalog import CatalogEntry, DocumentCatalog, PendingWrite, TenantCatalog
from serving.control.database import Database
from serving.control.tables import DocumentGroupRow, DocumentRow, PendingWriteRow


class SqlDocumentCatalog(DocumentCatalog):
    """All tenants' catalogues in one table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, ctx: TenantContext) -> TenantCatalog:
        return _SqlTenantCatalog(self._database, require_tenant(ctx, "the catalogue"))

    async def pending(self, operator: OperatorContext) -> list[PendingWrite]:
        require_operator(operator, "the pending writes")
        joined = and_(
            DocumentRow.tenant_id == PendingWriteRow.tenant_id,
            DocumentRow.document_id == PendingWriteRow.document_id,
        )
        query = select(
            PendingWriteRow.tenant_id, PendingWriteRow.document_id, DocumentRow.version
        ).outerjoin(DocumentRow, joined)
        async with self._database.transaction() as session:
            rows = (await session.execute(query)).all()
        return [PendingWrite(TenantId(tenant), doc, version) for tenant, doc, version in rows]

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> int:
        require_operator(operator, "purging the catalogue")
        async with self._database.transaction() as session:
            gone = await session.scalars(
                delete(DocumentRow)
                .where(_mine(DocumentRow, tenant))
                .returning(DocumentRow.document_id)
            )
            count = len(gone.all())
            await session.execute(delete(PendingWriteRow).where(_mine(PendingWriteRow, tenant)))
        return count

    async def settled(self, operator: OperatorContext, write: PendingWrite) -> None:
        require_operator(operator, "the pending writes")
        mine = _mine(PendingWriteRow, write.tenant_id, write.document_id)
        async with self._database.transaction() as session:
            await session.execute(delete(PendingWriteRow).where(mine))


class _SqlTenantCatalog(TenantCatalog):
    def __init__(self, database: Database, ctx: TenantContext) -> None:
        self._database = database
        self._tenant = ctx.tenant_id
        self._visible = _visible(ctx.access)

    async def get(self, document_id: str) -> CatalogEntry | None:
        rows = await self._rows(_mine(DocumentRow, self._tenant, document_id))
        return _entry(rows[0]) if rows else None

    async def begin(self, document_id: str) -> None:
        async with self._database.transaction() as session:
            await session.merge(PendingWriteRow(tenant_id=self._tenant, document_id=document_id))

    async def commit(self, entry: CatalogEntry) -> None:
        row = DocumentRow(
            tenant_id=self._tenant,
            document_id=entry.document_id,
            title=entry.title,
            version=entry.version,
            fingerprint=entry.fingerprint,
            source=entry.source,
            chunks=entry.chunks,
            updated_at=entry.updated_at.astimezone(UTC).replace(tzinfo=None),
            groups=[
                DocumentGroupRow(
                    tenant_id=self._tenant, document_id=entry.document_id, group_name=group
                )
                for group in sorted(entry.groups)
            ],
        )
        async with self._database.transaction() as session:
            await session.merge(row)

    async def remove(self, document_id: str) -> bool:
        mine = _mine(DocumentRow, self._tenant, document_id)
        async with self._database.transaction() as session:
            gone = await session.scalars(
                delete(DocumentRow).where(mine).returning(DocumentRow.document_id)
            )
            return gone.first() is not None

    async def finish(self, document_id: str) -> None:
        mine = _mine(PendingWriteRow, self._tenant, document_id)
        async with self._database.transaction() as session:
            await session.execute(delete(PendingWriteRow).where(mine))

    async def _rows(self, mine: ColumnElement[bool]) -> Sequence[DocumentRow]:
        query = select(DocumentRow).where(mine, self._visible).order_by(DocumentRow.document_id)
        async with self._database.transaction() as session:
            return (await session.scalars(query)).all()

    async def list(self) -> list[CatalogEntry]:
        return [_entry(row) for row in await self._rows(_mine(DocumentRow, self._tenant))]


def _mine(table: Any, tenant: TenantId, document_id: str | None = None) -> ColumnElement[bool]:
    """The tenant's rows, of one document if named: the only WHERE of this module."""
    own: ColumnElement[bool] = table.tenant_id == tenant
    return own if document_id is None else and_(own, table.document_id == document_id)


def _visible(access: Access) -> ColumnElement[bool]:
    """The documents that a credential may see."""
    if access.unrestricted:
        return true()
    own = DocumentRow.groups.any(DocumentGroupRow.group_name.in_(access.groups))
    return or_(~DocumentRow.groups.any(), own)


def _entry(row: DocumentRow) -> CatalogEntry:
    return CatalogEntry(
        row.document_id,
        row.title,
        row.version,
        row.fingerprint,
        row.chunks,
        row.updated_at.replace(tzinfo=UTC),
        frozenset(group.group_name for group in row.groups),
        row.source,
    )
