"""`GET /v1/export`: a tenant's own documents, as JSON Lines."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.responses import StreamingResponse

from rag.export import DocumentBegins
from serving.gateway.dependencies import Parts, Tenant
from serving.gateway.ports import TenantPieces

router = APIRouter()


@router.get("/v1/export")
async def export(ctx: Tenant, parts: Parts) -> StreamingResponse:
    """A line `{"type": "document", ...}` for each document, then its Markdown in lines
    `{"type": "text", "text"}`; at the end `{"type": "end", "documents"}`, without which it was cut.
    """
    return StreamingResponse(_lines(parts.exporter.pieces(ctx)), media_type="application/x-ndjson")


async def _lines(pieces: TenantPieces) -> AsyncGenerator[bytes, None]:
    documents = 0
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, DocumentBegins):
                documents += 1
                yield _line(_document(piece))
            else:
                yield _line({"type": "text", "text": piece})
    yield _line({"type": "end", "documents": documents})


def _line(record: dict[str, Any]) -> bytes:
    return orjson.dumps(record) + b"\n"


def _document(begins: DocumentBegins) -> dict[str, Any]:
    entry, version = begins.entry, begins.version
    return {
        "type": "document",
        "id": entry.document_id,
        "title": version.title,
        "metadata": dict(version.metadata),
        "groups": sorted(version.groups),
        "updated_at": int(entry.updated_at.timestamp()),
    }
