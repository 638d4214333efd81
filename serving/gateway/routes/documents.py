"""`/v1/documents`: a tenant's own knowledge base."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)
from python_multipart.multipart import parse_options_header
from starlette.requests import Request
from starlette.responses import Response

from isolation.access import MAX_GROUPS, checked_groups
from isolation.context import TenantContext, require_unrestricted
from isolation.errors import InvalidRequestError
from rag.catalog import CatalogEntry
from rag.documents import MAX_ID_LENGTH, Document, Source
from rag.reading.source import SourceFile
from serving.gateway.dependencies import Parts, Tenant
from serving.gateway.json_body import read_json
from serving.gateway.ports import IngestOutcome
from serving.gateway.runtime import Runtime
from serving.gateway.uploads import form_upload, raw_upload

router = APIRouter()

# Of a list: all tenants wait while it is put together.
_PAGE = 1_000

Groups = Annotated[Sequence[str], Query(max_length=MAX_GROUPS)]

_ENDINGS = {
    "text/markdown": ".md",
    "text/plain": ".txt",
    "text/html": ".html",
    "text/csv": ".csv",
    "application/pdf": ".pdf",
}


class _PostedDocument(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    title: str = ""
    text: str
    metadata: dict[str, StrictStr | StrictBool | StrictInt | StrictFloat] = {}
    groups: list[str] = Field([], max_length=MAX_GROUPS)


@router.post("/v1/documents")
async def put_document(request: Request, ctx: Tenant, parts: Parts) -> dict[str, Any]:
    """Ingest a document: JSON `{"id", "title", "text", "metadata", "groups"}`, or a multipart
    `file` with the fields `id`, `encoding` and, for each group, `groups`.

    The same content again changes nothing; other content under the same id replaces it whole.
    """
    require_unrestricted(ctx)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        document = await _posted(request, parts.settings.max_document_bytes)
        return _written(document, await parts.ingestor.of(ctx).ingest(document))
    async with form_upload(request, parts.spool, parts.settings.max_file_bytes) as form:
        groups = checked_groups(form.fields.get("groups", []))
        file = SourceFile(form.path, form.name, form.one("encoding"))
        return await _ingested(parts, ctx, file, form.one("id") or form.name, groups)


# Ids are the tenant's own and may hold slashes.
@router.put("/v1/documents/{document_id:path}")
async def put_file(
    document_id: str, request: Request, ctx: Tenant, parts: Parts, group: Groups = ()
) -> dict[str, Any]:
    """Ingest a file that is the whole body, as `POST` does; `?group=`, as often as needed.

    Its kind and its encoding are what Content-Type says, else what the id ends with and what is
    evident.
    """
    require_unrestricted(ctx)
    if set(request.query_params) - {"group"}:
        raise InvalidRequestError("The only parameter is 'group'.")
    groups, limit = checked_groups(group), parts.settings.max_file_bytes
    async with raw_upload(request, parts.spool, limit) as path:
        file = _raw_file(path, document_id, request.headers.get("content-type", ""))
        return await _ingested(parts, ctx, file, document_id, groups)


@router.get("/v1/documents")
async def list_documents(
    ctx: Tenant,
    parts: Parts,
    after: Annotated[str | None, Query(max_length=MAX_ID_LENGTH)] = None,
    limit: Annotated[int, Query(ge=1, le=_PAGE)] = _PAGE,
) -> Response:
    """The tenant's documents, by id; with `has_more`, the rest is behind `?after=` the last id."""
    entries = await parts.ingestor.of(ctx).page(after=after, limit=limit + 1)
    body = {
        "object": "list",
        "data": [_entry(entry) for entry in entries[:limit]],
        "has_more": len(entries) > limit,
    }
    # Not FastAPI's encoder, which takes ten times as long.
    return Response(orjson.dumps(body), media_type="application/json")


@router.get("/v1/documents/{document_id:path}")
async def get_document(document_id: str, ctx: Tenant, parts: Parts) -> dict[str, Any]:
    """One document of the tenant."""
    return _entry(await parts.ingestor.of(ctx).get(document_id))


@router.delete("/v1/documents/{document_id:path}")
async def delete_document(document_id: str, ctx: Tenant, parts: Parts) -> dict[str, Any]:
    """Delete one document of the tenant; afterwards no search finds it."""
    await parts.ingestor.of(ctx).delete(document_id)
    return {"id": document_id, "object": "document", "deleted": True}


async def _posted(request: Request, limit: int) -> Document:
    posted = await read_json(request, _PostedDocument, limit=limit)
    groups = checked_groups(posted.groups)
    return Document(posted.id, posted.title or posted.id, posted.text, posted.metadata, groups)


async def _ingested(
    parts: Runtime, ctx: TenantContext, file: SourceFile, document_id: str, groups: frozenset[str]
) -> dict[str, Any]:
    """A file that is there already is known by its digest, and is not parsed."""
    own = parts.ingestor.of(ctx)
    digest = await asyncio.to_thread(file.digest)
    if await own.unchanged(document_id, digest, groups):
        entry = await own.get(document_id)
        return _answer(document_id, entry.title, "unchanged", entry.chunks)
    async with parts.parsers.read(ctx, file, document_id, digest) as document:
        return _written(document, await own.ingest(replace(document, groups=groups)))


def _raw_file(path: Path, document_id: str, content_type: str) -> SourceFile:
    kind, options = parse_options_header(content_type)
    ending = _ENDINGS.get(kind.decode())
    name = document_id if ending is None else PurePath(document_id).stem + ending
    encoding = options.get(b"charset")
    return SourceFile(path, name, encoding.decode() if encoding else None)


def _written(document: Source, outcome: IngestOutcome) -> dict[str, Any]:
    return _answer(document.id, document.title, outcome.status, outcome.chunks)


def _answer(document_id: str, title: str, status: str, chunks: int) -> dict[str, Any]:
    return {
        "id": document_id,
        "object": "document",
        "title": title,
        "status": status,
        "chunks": chunks,
    }


def _entry(entry: CatalogEntry) -> dict[str, Any]:
    return {
        "id": entry.document_id,
        "object": "document",
        "title": entry.title,
        "version": entry.version,
        "chunks": entry.chunks,
        "groups": sorted(entry.groups),
        "source": entry.source,
        "updated_at": int(entry.updated_at.timestamp()),
    }
