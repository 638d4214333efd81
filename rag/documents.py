"""What goes into the knowledge base and what comes out: documents, chunks, passages."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field

from isolation.access import checked_groups
from isolation.tenant_id import TenantId
from rag.errors import InvalidDocumentError
from rag.filters import Metadata, check_metadata

MAX_ID_LENGTH = 256
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Document:
    """A document as text. `id` is the tenant's own: two tenants may use the same.

    `text` is Markdown where structure is known (headings as `#` lines), else plain text.
    `metadata` is flat, and what a search's filter asks for. `groups`: who sees it; none, everybody
    of the tenant.
    """

    id: str
    title: str
    text: str
    metadata: Metadata = field(default_factory=dict)
    groups: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.id or len(self.id) > MAX_ID_LENGTH or _FORBIDDEN.search(self.id):
            raise InvalidDocumentError(
                f"A document id has 1 to {MAX_ID_LENGTH} characters and no control characters.",
                param="id",
            )
        if not self.text.strip():
            raise InvalidDocumentError("The document holds no text.", param="text")
        check_metadata(self.metadata)
        checked_groups(self.groups)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all but the id: equal fingerprints need no re-ingestion."""
        metadata = json.dumps(dict(self.metadata), sort_keys=True)
        parts = (self.title, metadata, ",".join(sorted(self.groups)), self.text)
        text = "".join(f"{len(part)}\0{part}" for part in parts)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """One version of one document, as the store keeps it with each of its chunks."""

    document_id: str
    version: str
    title: str
    metadata: Metadata = field(default_factory=dict)
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A published document as the store lists it."""

    document_id: str
    version: str
    title: str


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Some of a tenant's documents; `after` asks for the rest, and is None at the end."""

    documents: list[StoredDocument]
    after: str | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of one document, small enough to embed; its headings are part of `text`."""

    ordinal: int
    text: str


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """A chunk with its dense vector (float32, unit length, `Embedder.dimension` numbers)."""

    chunk: Chunk
    dense: list[float]


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that the store returned for a query. `tenant_id` is what its payload says.

    `similarity`: the cosine to the query, comparable between queries; 0 where there was none. A
    passage of several joined chunks has the first one's `ordinal` and the best one's scores.
    """

    tenant_id: TenantId
    document_id: str
    version: str
    ordinal: int
    title: str
    text: str
    score: float
    similarity: float = 0.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Chunks of one version of one document, by their ordinals, both ends included."""

    document_id: str
    version: str
    first: int
    last: int
