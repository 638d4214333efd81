"""Any store, with the vaults of masked documents beside it (docs/decisions/0018).

The engine gets texts with placeholders alone; who may read the values gets passages with them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from isolation.context import OperatorContext, TenantContext, require_tenant
from isolation.masking.masked_text import PLACEHOLDER, MaskedText, Values
from isolation.masking.policy import Policies
from isolation.tenant_id import TenantId
from rag.documents import (
    Chunk,
    DocumentPage,
    DocumentVersion,
    EmbeddedChunk,
    Passage,
    StoredChunk,
)
from rag.store.port import TenantCollection, VectorStore
from rag.store.vaults import DocumentVaults, Place
from rag.store.wrapping import WrappingCollection, WrappingStore

# Kept before a text, so that no text that was not masked passes for one that was.
_MARK, _MASKED, _PLAIN = "\0", "\0m", "\0p"


class VaultedVectorStore(WrappingStore):
    """`inner`, and what the placeholders in its texts stand for.

    policies: to whom the values are shown. filling: it is being filled with what another store
    holds, whose vaults these are: it leaves them as they are.
    """

    def __init__(
        self,
        inner: VectorStore,
        vaults: DocumentVaults,
        policies: Policies,
        *,
        filling: bool = False,
    ) -> None:
        super().__init__(inner)
        self._vaults = vaults
        self._policies = policies
        self._filling = filling

    def of(self, ctx: TenantContext) -> TenantCollection:
        own = require_tenant(ctx, "the vector store")
        vault = _Vault(self._vaults, self._policies, own, self._filling)
        return _VaultedCollection(self._inner.of(own), vault)

    async def settle(
        self,
        operator: OperatorContext,
        tenant: TenantId,
        document_id: str,
        version: str | None,
        *,
        versions: Collection[str] | None = None,
    ) -> None:
        await super().settle(operator, tenant, document_id, version, versions=versions)
        if not self._filling:
            await self._vaults.settle(operator, tenant, document_id, version, versions)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        await super().purge(operator, tenant)
        if not self._filling:
            await self._vaults.purge(operator, tenant)


class _Vault:
    """A tenant's vaults as its credential may read them."""

    def __init__(
        self, vaults: DocumentVaults, policies: Policies, ctx: TenantContext, filling: bool
    ) -> None:
        self._own = vaults.of(ctx)
        self._policies = policies
        self._ctx = ctx
        self._filling = filling

    async def put(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        """Nothing is written of chunks without placeholders: most have none."""
        values = {
            Place(version.document_id, version.version, one.chunk.ordinal): one.chunk.values
            for one in chunks
            if one.chunk.values
        }
        if values and not self._filling:
            await self._own.put(values)

    async def keep(self, document_id: str, version: str, versions: Collection[str] | None) -> None:
        if not self._filling:
            await self._own.keep(document_id, version, versions)

    async def delete(self, document_id: str, versions: Collection[str] | None) -> None:
        if not self._filling:
            await self._own.delete(document_id, versions)

    async def values(self, texts: Sequence[tuple[Place, str]]) -> list[Values | None]:
        """Of each text as it was kept; None of one that is not masked."""
        wanted = [place for place, kept in texts if _has_placeholders(kept)]
        found = await self._own.get(wanted) if wanted else {}
        shown = not found or (await self._policies.of(self._ctx)).reveals(self._ctx.access)
        return [
            _shown(found.get(place, {}), shown) if kept.startswith(_MASKED) else None
            for place, kept in texts
        ]


class _VaultedCollection(WrappingCollection):
    def __init__(self, inner: TenantCollection, vault: _Vault) -> None:
        super().__init__(inner)
        self._vault = vault

    async def stage(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        # First the values: a chunk whose values are lost could not be read.
        await self._vault.put(version, chunks)
        marked = [replace(one, chunk=replace(one.chunk, kept=_kept(one.chunk))) for one in chunks]
        await self._inner.stage(version, marked)

    async def publish(
        self, document_id: str, version: str, *, versions: Collection[str] | None = None
    ) -> None:
        await super().publish(document_id, version, versions=versions)
        await self._vault.keep(document_id, version, versions)

    async def delete(self, document_id: str, *, versions: Collection[str] | None = None) -> None:
        await super().delete(document_id, versions=versions)
        await self._vault.delete(document_id, versions)

    async def _passages(self, found: list[Passage]) -> list[Passage]:
        texts = [(Place(one.document_id, one.version, one.ordinal), one.text) for one in found]
        values = await self._vault.values(texts)
        return [_passage(one, of) for one, of in zip(found, values, strict=True)]

    async def _chunks(self, found: list[StoredChunk]) -> list[StoredChunk]:
        texts = [
            (Place(one.version.document_id, one.version.version, one.chunk.ordinal), one.chunk.text)
            for one in found
        ]
        return [
            replace(one, chunk=replace(one.chunk, text=_unmarked(one.chunk.text), values=values))
            for one, values in zip(found, await self._vault.values(texts), strict=True)
        ]

    async def _page(self, page: DocumentPage) -> DocumentPage:
        return page  # titles are not masked


def _passage(passage: Passage, values: Values | None) -> Passage:
    text = _unmarked(passage.text)
    if values is None:
        return passage._replace(text=text)
    masked = MaskedText(text, values, f"{passage.document_id}\0{passage.version}")
    return passage._replace(text=masked.restored, masked=masked)


def _shown(values: Values, shown: bool) -> Values:
    return values if shown else dict.fromkeys(values)


def _kept(chunk: Chunk) -> str | None:
    if chunk.values is not None:
        return _MASKED + chunk.text
    return _PLAIN + chunk.text if chunk.text.startswith(_MARK) else None


def _unmarked(kept: str) -> str:
    return kept[len(_MASKED) :] if kept.startswith((_MASKED, _PLAIN)) else kept


def _has_placeholders(kept: str) -> bool:
    return kept.startswith(_MASKED) and PLACEHOLDER.search(kept) is not None
