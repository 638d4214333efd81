"""A tenant's documents as one file, whatever engine they come from or go to.

Gzipped JSON Lines: a header, each document followed by its chunks, and an end with counts and the
SHA-256 of all lines before it. The sum is against damage; it is no signature. Sparse vectors are
not in it: they are counted anew from the text.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from rag.catalog import CatalogEntry
from rag.documents import Chunk, Document, EmbeddedChunk
from rag.errors import ArchiveError
from rag.filters import Metadata

FORMAT, FORMAT_VERSION = "bulkhead-tenant", 2
_READABLE = (1, 2)  # 1 held no masked documents
_LONGEST_LINE = 16_000_000


@dataclass(frozen=True, slots=True)
class ArchiveHeader:
    """Whose documents, and of which model their vectors are."""

    tenant: str
    model: str
    dimension: int


@dataclass(frozen=True, slots=True)
class ArchivedDocument:
    """A document's catalogue entry with its metadata; `entry.chunks` chunks follow it."""

    entry: CatalogEntry
    metadata: Metadata


class ArchiveWriter:
    """Makes the file's bytes, a piece at a time."""

    def __init__(self, header: ArchiveHeader) -> None:
        self._gzip = zlib.compressobj(wbits=31)
        self._digest = hashlib.sha256()
        self._documents = self._chunks = 0
        self._begin = {"format": FORMAT, "version": FORMAT_VERSION, **asdict(header)}

    def begin(self) -> bytes:
        """The header."""
        return self._line({"header": self._begin})

    def document(self, archived: ArchivedDocument) -> bytes:
        """A document; its chunks come next, in order."""
        self._documents += 1
        entry = asdict(archived.entry) | {
            "groups": sorted(archived.entry.groups),
            "updated_at": archived.entry.updated_at.isoformat(),
        }
        return self._line({"document": {"entry": entry, "metadata": dict(archived.metadata)}})

    def chunk(self, chunk: Chunk, dense: list[float]) -> bytes:
        """One chunk of the document before it."""
        self._chunks += 1
        vector = base64.b64encode(np.asarray(dense, dtype="<f4").tobytes()).decode()
        line = {"ordinal": chunk.ordinal, "text": chunk.text, "dense": vector}
        if chunk.values is not None:
            line["values"] = dict(chunk.values)
        return self._line({"chunk": line})

    def end(self) -> bytes:
        """The end, without which the file is none."""
        counts = {"documents": self._documents, "chunks": self._chunks}
        total = {"end": counts | {"sha256": self._digest.hexdigest()}}
        return self._line(total) + self._gzip.flush()

    def _line(self, value: dict[str, Any]) -> bytes:
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._digest.update(line)
        return self._gzip.compress(line)


def checked(path: Path) -> ArchiveHeader:
    """The header of a file that is whole, every line of it looked at.

    Raises:
        ArchiveError: it is damaged, cut short, or no archive.
    """
    header = header_of(path)
    for _ in contents(path, header):
        pass
    return header


def header_of(path: Path) -> ArchiveHeader:
    """What the file says first.

    Raises:
        ArchiveError: it is no archive, or of a version that is not known.
    """
    begin = next(_lines(path), (b"", {}))[1].get("header")
    if not isinstance(begin, dict) or begin.get("format") != FORMAT:
        raise ArchiveError("The file is no archive of a tenant.")
    if begin.get("version") not in _READABLE:
        raise ArchiveError("The archive is of a version that this program does not read.")
    try:
        return ArchiveHeader(str(begin["tenant"]), str(begin["model"]), int(begin["dimension"]))
    except (KeyError, TypeError, ValueError):
        raise _damaged() from None


def contents(path: Path, header: ArchiveHeader) -> Iterator[ArchivedDocument | EmbeddedChunk]:
    """Each document, and after it its chunks in order.

    Raises:
        ArchiveError: it is damaged, or cut short: perhaps only at its end.
    """
    digest, counts, open_chunks, total = hashlib.sha256(), [0, 0], 0, None
    for line, value in _lines(path):
        if total is not None:
            raise _damaged()
        if "end" in value:
            total = [value["end"].get("documents"), value["end"].get("chunks")]
            if digest.hexdigest() != value["end"].get("sha256") or open_chunks:
                raise _damaged()
            continue
        digest.update(line)
        if "document" in value:
            archived = _document(value["document"])
            if open_chunks:
                raise _damaged()
            counts[0], open_chunks, ordinal = counts[0] + 1, archived.entry.chunks, 0
            yield archived
        elif "chunk" in value:
            if not open_chunks:
                raise _damaged()
            yield _chunk(value["chunk"], ordinal, header.dimension)
            counts[1], open_chunks, ordinal = counts[1] + 1, open_chunks - 1, ordinal + 1
    if total != counts:
        raise _damaged()


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(_LONGEST_LINE):
                value = json.loads(line)
                if not isinstance(value, dict) or not line.endswith(b"\n"):
                    raise _damaged()
                yield line, value
    except (OSError, EOFError, zlib.error, ValueError):
        raise _damaged() from None


def _document(value: Any) -> ArchivedDocument:
    try:
        kept, metadata = value["entry"], value["metadata"]
        groups = frozenset(kept["groups"])
        # Its checks are those of a document that comes by the front door.
        Document(kept["document_id"], kept["title"], "text", metadata, groups)
        entry = CatalogEntry(
            **kept | {"groups": groups, "updated_at": datetime.fromisoformat(kept["updated_at"])}
        )
        if entry.chunks < 1:
            raise _damaged()
        return ArchivedDocument(entry, metadata)
    except ArchiveError:
        raise
    except Exception:
        raise _damaged() from None


def _chunk(value: Any, ordinal: int, dimension: int) -> EmbeddedChunk:
    try:
        dense = np.frombuffer(base64.b64decode(value["dense"], validate=True), dtype="<f4")
        text, values = value["text"], value.get("values")
        right = value["ordinal"] == ordinal and len(dense) == dimension and isinstance(text, str)
    except (KeyError, TypeError, ValueError):
        raise _damaged() from None
    if not right or not math.isfinite(float(dense.sum())) or not _are_values(values):
        raise _damaged()
    return EmbeddedChunk(Chunk(ordinal, text, values=values), dense.tolist())


def _are_values(values: Any) -> bool:
    if values is None:
        return True
    return isinstance(values, dict) and all(
        value is None or isinstance(value, str) for value in values.values()
    )


def _damaged() -> ArchiveError:
    return ArchiveError("The archive is damaged or cut short. Nothing was restored.")
