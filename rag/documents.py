"""What goes into the knowledge base and what comes out: documents, chunks, passages."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from isolation.access import checked_groups
from isolation.masking.masked_text import MaskedText, Values
from isolation.tenant_id import TenantId
from rag.errors import InvalidDocumentError
from rag.filters import Metadata, check_metadata

MAX_ID_LENGTH, MAX_TITLE_LENGTH = 256, 500
_BLOCK = 64_000
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
        _check(self.id, self.metadata, self.groups)
        if len(self.title) > MAX_TITLE_LENGTH:
            raise InvalidDocumentError(
                f"A title has at most {MAX_TITLE_LENGTH} characters.", param="title"
            )
        if not self.text.strip():
            raise InvalidDocumentError("The document holds no text.", param="text")

    @property
    def source(self) -> None:
        """No file."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all but the id: equal fingerprints need no re-ingestion."""
        digest = _digest_of(self.title, self.metadata, self.groups, len(self.text))
        digest.update(self.text.encode())
        return digest.hexdigest()

    def lines(self) -> Iterator[str]:
        """The text's lines, with their ends."""
        return io.StringIO(self.text)


@dataclass(frozen=True, slots=True)
class SpooledDocument:
    """A document whose text lies in a file (UTF-8), for as long as its owner keeps that.

    characters: of the text. source: SHA-256 of the file that it was read from
    (`rag/reading/source.py`).
    """

    id: str
    title: str
    path: Path
    characters: int
    source: str | None = None
    metadata: Metadata = field(default_factory=dict)
    groups: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _check(self.id, self.metadata, self.groups)

    @property
    def fingerprint(self) -> str:
        """As of a `Document` with the same text."""
        digest = _digest_of(self.title, self.metadata, self.groups, self.characters)
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def lines(self) -> Iterator[str]:
        """The text's lines, with their ends; very long ones in pieces."""
        with self.path.open(encoding="utf-8", newline="") as file:
            yield from iter(lambda: file.readline(_BLOCK), "")


Source = Document | SpooledDocument


def _check(document_id: str, metadata: Metadata, groups: frozenset[str]) -> None:
    if not document_id or len(document_id) > MAX_ID_LENGTH or _FORBIDDEN.search(document_id):
        raise InvalidDocumentError(
            f"A document id has 1 to {MAX_ID_LENGTH} characters and no control characters.",
            param="id",
        )
    check_metadata(metadata)
    checked_groups(groups)


def _digest_of(
    title: str, metadata: Metadata, groups: frozenset[str], characters: int
) -> hashlib._Hash:
    """Of everything but the text, which comes next."""
    parts = (title, json.dumps(dict(metadata), sort_keys=True), ",".join(sorted(groups)))
    text = "".join(f"{len(part)}\0{part}" for part in parts)
    return hashlib.sha256(f"{text}{characters}\0".encode())


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
    """A piece of one document, small enough to embed; its headings are part of `text`.

    kept: what a store keeps in place of `text`, where that is sealed. values: what the document
    placeholders in `text` stand for; None: the text was not masked.
    """

    ordinal: int
    text: str
    kept: str | None = None
    values: Values | None = None


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """A chunk with its dense vector (float32, unit length, `Embedder.dimension` numbers)."""

    chunk: Chunk
    dense: list[float]


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk as it was staged; `dense` where it was asked for."""

    version: DocumentVersion
    chunk: Chunk
    dense: list[float] | None = None


class Passage(NamedTuple):
    """A chunk that the store returned for a query. `tenant_id` is what its payload says.

    A tuple, for ten are made in a search: as a frozen dataclass each takes three times as long.

    `similarity`: the cosine to the query, comparable between queries; 0 where there was none. A
    passage of several joined chunks has the first one's `ordinal` and the best one's scores.
    `text` is for the caller; `masked`, where the document was masked, for a model.
    """

    tenant_id: TenantId
    document_id: str
    version: str
    ordinal: int
    title: str
    text: str
    score: float
    similarity: float = 0.0
    masked: MaskedText | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Chunks of one version of one document, by their ordinals, both ends included."""

    document_id: str
    version: str
    first: int
    last: int
