"""The error tree of `rag`.

BulkheadError
├── EmbeddingError             an embedding model gave what are no vectors of it
└── StoreError                 the vector store
    ├── StoreLockedError       another process owns the embedded shard
    ├── PlacementError         409, there is but one shard for everybody
    ├── StoreUnavailableError  503, the Qdrant server does not answer; may be tried again
    └── UnsafeCollectionError  a collection would leak or lose recall; refused on open
RequestRefusedError
├── DocumentUnreadableError    422, a file is broken, empty, or of a kind that is not read
├── DocumentTooLargeError      413, a file exceeds a limit of the reader
├── ArchiveError               422, of a tenant: damaged, cut short, another's, another model's
├── DocumentNotFoundError      404, unknown or another tenant's: one answer
├── DocumentBusyError          409, another writer has the document, or took it from a slow one
├── VectorsMovingError         409, a re-embedding takes over in this moment, or has done so
├── InvalidFilterError         400, of a search or of a document's metadata
└── InvalidDocumentError       400
"""

from __future__ import annotations

from typing import ClassVar

from isolation.errors import BulkheadError, RequestRefusedError


class DocumentUnreadableError(RequestRefusedError):
    """The file cannot be read as a document; the message names the file and the reason."""

    code = "document_unreadable"
    status = 422


class DocumentTooLargeError(RequestRefusedError):
    """The file exceeds a limit: bytes, pages, nesting, cells, seconds or memory of its parser."""

    code = "document_too_large"
    status = 413


class ArchiveError(RequestRefusedError):
    """An archive of a tenant is not what it should be; nothing of it was restored."""

    code = "archive_refused"
    status = 422


class InvalidDocumentError(RequestRefusedError):
    """The document's id, title or text is not acceptable."""

    code = "invalid_document"


class InvalidFilterError(RequestRefusedError):
    """A filter, or the metadata it would ask for, is not acceptable."""

    code = "invalid_filter"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="filter")


class DocumentNotFoundError(RequestRefusedError):
    """No such document for this tenant. The same for unknown ids and for another tenant's."""

    code = "document_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such document. List yours with GET /v1/documents.")


class DocumentBusyError(RequestRefusedError):
    """Another writer has the document, perhaps of another gateway; or took it over, because this
    one was silent for too long."""

    code = "document_busy"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            "Another write of this document is under way. Send it again.",
            headers={"Retry-After": "5"},
        )


class VectorsMovingError(RequestRefusedError):
    """What was written is of a generation that another one replaces, or has replaced."""

    code = "vectors_moving"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            "All vectors are being replaced with another model's. Send it again.",
            headers={"Retry-After": "5"},
        )


class EmbeddingError(BulkheadError):
    """The embedding model gave too few vectors, or some that are not finite or of another size."""

    code = "embedding_failed"

    def __init__(self) -> None:
        super().__init__("The embedding model gave no usable vectors; nothing was written.")


class StoreError(BulkheadError):
    """The vector store failed."""

    code = "store_error"


class StoreLockedError(StoreError):
    """Another process has the embedded shard open."""

    code = "store_locked"


class PlacementError(StoreError):
    """A tenant cannot get a shard of its own."""

    code = "placement_unavailable"
    status: ClassVar[int] = 409

    def __init__(self) -> None:
        super().__init__(
            "There is one shard for everybody. Shards of tenants' own need a Qdrant cluster and "
            "BULKHEAD_QDRANT_PLACEMENT=tiered."
        )


class StoreUnavailableError(StoreError, RequestRefusedError):
    """The vector store does not answer, or not in time. Nothing is said of what was asked."""

    code = "store_unavailable"
    status = 503
    kind = "server_error"

    def __init__(self, retry_after: int = 2) -> None:
        RequestRefusedError.__init__(
            self,
            "The vector store does not answer. Try again shortly.",
            headers={"Retry-After": str(max(1, retry_after))},
        )


class UnsafeCollectionError(StoreError):
    """The collection's settings would leak or silently lose recall."""

    code = "unsafe_collection"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The vector collection is not used. {reason}")
