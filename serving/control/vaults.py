"""Documents' vaults in the database, sealed under their tenant's key.

A row names the chunk that it is of inside the seal, too: moved to another one, it does not open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import orjson
from sqlalchemy import ColumnElement, and_, delete, or_, select

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.masking.masked_text import Values
from isolation.sealing import SealError, TenantCipher
from isolation.tenant_id import TenantId
from rag.store.vaults import DocumentVaults, Place, TenantVaults
from serving.control.claims import of_document
from serving.control.database import Database
from serving.control.tables import DocumentVaultRow
from serving.control.text_keys import TextKeys


class SqlDocumentVaults(DocumentVaults):
    """All tenants' vaults in one table. keys: of this purpose alone."""

    def __init__(self, database: Database, keys: TextKeys) -> None:
        self._database = database
        self._keys = keys

    def of(self, ctx: TenantContext) -> TenantVaults:
        return _SqlTenantVaults(self._database, self._keys, require_tenant(ctx, "the vaults"))

    async def settle(
        self,
        operator: OperatorContext,
        tenant: TenantId,
        document_id: str,
        version: str | None,
        versions: Collection[str] | None,
    ) -> None:
        require_operator(operator, "the vaults")
        await _delete(self._database, _others(tenant, document_id, version, versions))

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        require_operator(operator, "the vaults")
        await _delete(self._database, of_document(DocumentVaultRow, tenant))


class _SqlTenantVaults(TenantVaults):
    def __init__(self, database: Database, keys: TextKeys, ctx: TenantContext) -> None:
        self._database = database
        self._keys = keys
        self._ctx = ctx

    async def put(self, values: Mapping[Place, Values]) -> None:
        cipher, tenant = await self._keys.cipher(self._ctx), self._ctx.tenant_id
        async with self._database.transaction() as session:
            for place, of in values.items():
                await session.merge(
                    DocumentVaultRow(
                        tenant_id=tenant,
                        document_id=place.document_id,
                        version=place.version,
                        ordinal=place.ordinal,
                        sealed=cipher.seal_bytes(orjson.dumps([_named(place), dict(of)])),
                    )
                )

    async def get(self, places: Sequence[Place]) -> Mapping[Place, Values]:
        mine = of_document(DocumentVaultRow, self._ctx.tenant_id)
        async with self._database.transaction() as session:
            rows = (await session.scalars(select(DocumentVaultRow).where(mine, _at(places)))).all()
        if not rows:
            return {}
        cipher = await self._keys.cipher(self._ctx)
        return dict(_opened(cipher, row) for row in rows)

    async def keep(self, document_id: str, version: str, versions: Collection[str] | None) -> None:
        others = _others(self._ctx.tenant_id, document_id, version, versions)
        await _delete(self._database, others)

    async def delete(self, document_id: str, versions: Collection[str] | None) -> None:
        gone = _others(self._ctx.tenant_id, document_id, None, versions)
        await _delete(self._database, gone)


async def _delete(database: Database, rows: ColumnElement[bool]) -> None:
    gone = delete(DocumentVaultRow).where(rows).returning(DocumentVaultRow.ordinal)
    async with database.transaction() as session:
        any_gone = (await session.scalars(gone)).first() is not None
    if any_gone:
        await database.forget_deleted()


def _others(
    tenant: TenantId, document_id: str, version: str | None, versions: Collection[str] | None
) -> ColumnElement[bool]:
    """All versions but one, of `versions` where they are given."""
    rows = of_document(DocumentVaultRow, tenant, document_id)
    if version is not None:
        rows = and_(rows, DocumentVaultRow.version != version)
    return rows if versions is None else and_(rows, DocumentVaultRow.version.in_(versions))


def _at(places: Sequence[Place]) -> ColumnElement[bool]:
    ordinals: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place in places:
        ordinals[place.document_id, place.version].append(place.ordinal)
    return or_(
        *(
            and_(
                DocumentVaultRow.document_id == document_id,
                DocumentVaultRow.version == version,
                DocumentVaultRow.ordinal.in_(wanted),
            )
            for (document_id, version), wanted in ordinals.items()
        )
    )


def _opened(cipher: TenantCipher, row: DocumentVaultRow) -> tuple[Place, Values]:
    place = Place(row.document_id, row.version, row.ordinal)
    named, values = orjson.loads(cipher.open_bytes(row.sealed))
    if named != _named(place):
        raise SealError("A vault is another chunk's.")
    return place, values


def _named(place: Place) -> list[str | int]:
    return [place.document_id, place.version, place.ordinal]
