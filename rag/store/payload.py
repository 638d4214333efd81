"""A point's payload: how a chunk is written, and how it is read back. The same in every engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isolation.context import TenantContext, require_same_tenant
from rag.documents import Chunk, DocumentVersion, Passage, StoredChunk, StoredDocument
from rag.store import predicate

_TITLE, _BODY = "title", "text"
# All that a listing needs: no text leaves the engine for it.
LISTED = [predicate.TENANT, predicate.DOCUMENT, predicate.VERSION, _TITLE]
# All that a passage is made of.
READ = [*LISTED, predicate.ORDINAL, _BODY]


def payload_of(ctx: TenantContext, version: DocumentVersion, chunk: Chunk) -> dict[str, Any]:
    """The payload of a staged chunk."""
    return {
        predicate.DOCUMENT: version.document_id,
        predicate.VERSION: version.version,
        predicate.STATE: predicate.STAGED,
        predicate.ACCESS: predicate.stored_access(version.groups),
        predicate.METADATA: predicate.stored_metadata(version.metadata),
        predicate.ORDINAL: chunk.ordinal,
        _TITLE: version.title,
        _BODY: chunk.text if chunk.kept is None else chunk.kept,
        # Last: nothing that comes before can stand in for it.
        predicate.TENANT: ctx.tenant_id,
    }


def passage_of(
    ctx: TenantContext, payload: Mapping[str, Any], score: float = 0.0, similarity: float = 0.0
) -> Passage:
    """The passage in a payload that an engine returned.

    Raises:
        CrossTenantError: it is not this tenant's.
    """
    owner = payload[predicate.TENANT]
    require_same_tenant(ctx, owner, "a search result")
    return Passage(
        owner,
        payload[predicate.DOCUMENT],
        payload[predicate.VERSION],
        int(payload[predicate.ORDINAL]),
        payload[_TITLE],
        payload[_BODY],
        score,
        similarity,
    )


def document_of(ctx: TenantContext, payload: Mapping[str, Any]) -> StoredDocument:
    """The document that a payload's chunk is of.

    Raises:
        CrossTenantError: it is not this tenant's.
    """
    require_same_tenant(ctx, payload[predicate.TENANT], "a listing")
    return StoredDocument(payload[predicate.DOCUMENT], payload[predicate.VERSION], payload[_TITLE])


def stored_chunk_of(
    ctx: TenantContext, payload: Mapping[str, Any], dense: list[float] | None
) -> StoredChunk:
    """Everything that `payload_of` was given.

    Raises:
        CrossTenantError: it is not this tenant's.
    """
    require_same_tenant(ctx, payload[predicate.TENANT], "a chunk")
    version = DocumentVersion(
        payload[predicate.DOCUMENT],
        payload[predicate.VERSION],
        payload[_TITLE],
        predicate.metadata_of(payload[predicate.METADATA]),
        predicate.groups_of(payload[predicate.ACCESS]),
    )
    return StoredChunk(version, Chunk(int(payload[predicate.ORDINAL]), payload[_BODY]), dense)
