"""The error tree of `rag`.

BulkheadError
└── StoreError                 the vector store
    ├── StoreLockedError       another process owns the embedded shard
    └── UnsafeCollectionError  a collection on disk would leak or lose recall; refused on open
RequestRefusedError
├── DocumentUnreadableError    422, a file is broken, empty, or of a kind that is not read
├── DocumentTooLargeError      413, a file exceeds a limit of the reader
├── DocumentNotFoundError      404, unknown or another tenant's: one answer
├── InvalidFilterError         400, of a search or of a document's metadata
└── InvalidDocumentError       400
"""

from __future__ import annotations

from isolation.errors import BulkheadError, RequestRefusedError


class DocumentUnreadableError(RequestRefusedError):
    """The file cannot be read as a document; the message names the file and the reason."""

    code = "document_unreadable"
    status = 422


class DocumentTooLargeError(RequestRefusedError):
    """The file exceeds a limit: bytes, pages, nesting, cells, seconds or memory of its parser."""

    code = "document_too_large"
    status = 413


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


class StoreError(BulkheadError):
    """The vector store failed."""

    code = "store_error"


class StoreLockedError(StoreError):
    """Another process has the embedded shard open."""

    code = "store_locked"


class UnsafeCollectionError(StoreError):
    """The collection's settings would leak or silently lose recall."""

    code = "unsafe_collection"
