"""The document catalogue in the database."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from isolation.access import Access
from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.tenant_id import TenantId
from rag.catalog import CatalogEntry, Claim, DocumentCatalog, PendingWrite, TenantCatalog
from rag.errors import DocumentBusyError
from serving.control.claims import claimed, hold, of_document, release, taken_over
from serving.control.database import Database, utc_now
from serving.control.moves import Moves, require_epoch
from serving.control.tables import DocumentGroupRow, DocumentRow, PendingWriteRow

_PAGE = 1_000


class SqlDocumentCatalog(DocumentCatalog):
    """All tenants' catalogues in one table."""

    def __init__(self, database: Database, moves: Moves | None = None) -> None:
        """moves: where other gateways may re-embed."""
        self._database = database
        self._moves = moves

    def of(self, ctx: TenantContext) -> TenantCatalog:
        own = require_tenant(ctx, "the catalogue")
        return _SqlTenantCatalog(self._database, own, self._moves)

    async def entries(self, operator: OperatorContext, tenant: TenantId) -> list[CatalogEntry]:
        require_operator(operator, "a tenant's catalogue")
        query = select(DocumentRow).where(of_document(DocumentRow, tenant))
        async with self._database.transaction() as session:
            rows = (await session.scalars(query.order_by(DocumentRow.document_id))).all()
        return [_entry(row) for row in rows]

    async def chunks(self, operator: OperatorContext) -> dict[TenantId, int]:
        require_operator(operator, "the tenants' sizes")
        query = select(DocumentRow.tenant_id, func.sum(DocumentRow.chunks))
        async with self._database.transaction() as session:
            rows = await session.execute(query.group_by(DocumentRow.tenant_id))
            return {TenantId(tenant): int(chunks) for tenant, chunks in rows}

    async def marks(self, operator: OperatorContext) -> dict[TenantId, str]:
        require_operator(operator, "the tenants' catalogues")
        query = select(DocumentRow.tenant_id, DocumentRow.document_id, DocumentRow.version)
        query = query.order_by(DocumentRow.tenant_id, DocumentRow.document_id)
        marks: dict[TenantId, Any] = {}
        async with self._database.transaction() as session:
            rows = await session.stream(query.execution_options(yield_per=_PAGE))
            async for tenant, document_id, version in rows:
                mark = marks.setdefault(TenantId(tenant), hashlib.sha256())
                mark.update(f"{document_id}\0{version}\0".encode())
        return {tenant: mark.hexdigest() for tenant, mark in marks.items()}

    async def take_over(self, operator: OperatorContext, *, alone: bool) -> list[PendingWrite]:
        require_operator(operator, "the pending writes")
        silent = true() if alone else PendingWriteRow.expires_at <= utc_now()
        async with self._database.transaction() as session:
            left = (await session.scalars(select(PendingWriteRow).where(silent))).all()
            if self._moves is not None and (await self._moves.now())[0] != self._moves.epoch:
                return []  # What they wrote may be in a generation that is not known here yet.
        taken = [await self._take_over(one) for one in left]
        return [write for write in taken if write is not None]

    async def _take_over(self, left: PendingWriteRow) -> PendingWrite | None:
        tenant = TenantId(left.tenant_id)
        mine = of_document(DocumentRow, tenant, left.document_id)
        async with self._database.transaction() as session:
            claim = await taken_over(session, left)
            if claim is None:
                return None
            return PendingWrite(
                tenant, claim, await session.scalar(select(DocumentRow.version).where(mine))
            )

    async def writing(self, operator: OperatorContext, tenant: TenantId) -> bool:
        require_operator(operator, "the pending writes")
        held = of_document(PendingWriteRow, tenant), PendingWriteRow.expires_at > utc_now()
        async with self._database.transaction() as session:
            return await session.scalar(select(PendingWriteRow).where(*held).limit(1)) is not None

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> int:
        require_operator(operator, "purging the catalogue")
        async with self._database.transaction() as session:
            gone = await session.scalars(
                delete(DocumentRow)
                .where(of_document(DocumentRow, tenant))
                .returning(DocumentRow.document_id)
            )
            count = len(gone.all())
            await session.execute(
                delete(PendingWriteRow).where(of_document(PendingWriteRow, tenant))
            )
        return count

    async def settled(self, operator: OperatorContext, write: PendingWrite) -> None:
        require_operator(operator, "the pending writes")
        async with self._database.transaction() as session:
            await release(session, write.tenant_id, write.claim)


class _SqlTenantCatalog(TenantCatalog):
    def __init__(self, database: Database, ctx: TenantContext, moves: Moves | None) -> None:
        self._database = database
        self._moves = moves
        self._tenant = ctx.tenant_id
        self._visible = _visible(ctx.access)

    async def get(self, document_id: str) -> CatalogEntry | None:
        rows = await self._rows(of_document(DocumentRow, self._tenant, document_id))
        return _entry(rows[0]) if rows else None

    async def unfinished(self, document_id: str) -> bool:
        mine = of_document(PendingWriteRow, self._tenant, document_id)
        async with self._database.transaction() as session:
            return await session.scalar(select(PendingWriteRow).where(mine)) is not None

    async def begin(self, document_id: str, version: str | None = None) -> Claim:
        async def check(session: AsyncSession) -> None:
            await self._require_epoch(session, committing=False)

        return await claimed(self._database, self._tenant, document_id, version, check)

    async def _require_epoch(self, session: AsyncSession, *, committing: bool) -> None:
        if self._moves is not None:
            await require_epoch(session, self._moves.epoch, committing=committing)

    async def renew(self, claim: Claim) -> None:
        async with self._database.transaction() as session:
            await hold(session, self._tenant, claim)

    async def let_go(self, claim: Claim) -> None:
        # Who has finished, or lost it, holds nothing.
        with suppress(DocumentBusyError):
            async with self._database.transaction() as session:
                await hold(session, self._tenant, claim, seconds=0)

    async def commit(self, entry: CatalogEntry, claim: Claim) -> None:
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
            await hold(session, self._tenant, claim)
            await self._require_epoch(session, committing=True)
            await session.merge(row)

    async def remove(self, claim: Claim) -> bool:
        mine = of_document(DocumentRow, self._tenant, claim.document_id)
        async with self._database.transaction() as session:
            await hold(session, self._tenant, claim)
            await self._require_epoch(session, committing=True)
            gone = await session.scalars(
                delete(DocumentRow).where(mine).returning(DocumentRow.document_id)
            )
            return gone.first() is not None

    async def finish(self, claim: Claim) -> None:
        async with self._database.transaction() as session:
            await release(session, self._tenant, claim)

    async def _rows(
        self, *mine: ColumnElement[bool], limit: int | None = None
    ) -> Sequence[DocumentRow]:
        query = select(DocumentRow).where(*mine, self._visible).order_by(DocumentRow.document_id)
        async with self._database.transaction() as session:
            return (await session.scalars(query.limit(limit))).all()

    async def page(self, *, after: str | None, limit: int) -> list[CatalogEntry]:
        mine = of_document(DocumentRow, self._tenant)
        behind = true() if after is None else DocumentRow.document_id > after
        return [_entry(row) for row in await self._rows(mine, behind, limit=limit)]


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
