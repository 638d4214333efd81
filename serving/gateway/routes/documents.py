"""`/v1/documents`: a tenant's own knowledge base."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)
from starlette.datastructures import UploadFile
from starlette.requests import Request

from isolation.access import MAX_GROUPS, checked_groups
from isolation.context import require_unrestricted
from isolation.errors import InvalidRequestError
from rag.catalog import CatalogEntry
from rag.documents import Document
from rag.reading.reader import read_bytes
from serving.errors import PayloadTooLargeError
from serving.gateway.bodies import read_body
from serving.gateway.chat_request import refusal_of
from serving.gateway.dependencies import Parts, Tenant

router = APIRouter()


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
    `file` with the fields `id` and, for each group, `groups`.

    The same content again changes nothing; other content under the same id replaces it whole.
    """
    require_unrestricted(ctx)
    document = await _posted(request, parts.settings.max_document_bytes)
    outcome = await parts.ingestor.of(ctx).ingest(document)
    return {
        "id": document.id,
        "object": "document",
        "title": document.title,
        "status": outcome.status,
        "chunks": outcome.chunks,
    }


@router.get("/v1/documents")
async def list_documents(ctx: Tenant, parts: Parts) -> dict[str, Any]:
    """All documents of the tenant."""
    entries = await parts.ingestor.of(ctx).list()
    return {"object": "list", "data": [_entry(entry) for entry in entries]}


# Ids are the tenant's own and may hold slashes.
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
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await _from_file(request, limit)
    try:
        posted = _PostedDocument.model_validate_json(await read_body(request, limit))
    except ValidationError as error:
        raise refusal_of(error) from None
    groups = checked_groups(posted.groups)
    return Document(posted.id, posted.title or posted.id, posted.text, posted.metadata, groups)


async def _from_file(request: Request, limit: int) -> Document:
    declared = request.headers.get("content-length", "")
    if not declared.isdigit():
        raise InvalidRequestError("Send a Content-Length with a file.")
    if int(declared) > limit:
        raise PayloadTooLargeError(limit)
    async with request.form(max_files=1, max_fields=2 + MAX_GROUPS) as form:
        file, document_id = form.get("file"), form.get("id")
        groups = checked_groups(str(group) for group in form.getlist("groups"))
        if not isinstance(file, UploadFile) or not file.filename:
            raise InvalidRequestError("Send one file in the field 'file'.", param="file")
        if document_id is not None and not isinstance(document_id, str):
            raise InvalidRequestError("The field 'id' is text.", param="id")
        data = await file.read()
        # Parsing is CPU-bound: off the event loop.
        document = await asyncio.to_thread(
            read_bytes, file.filename, data, document_id or file.filename
        )
        return replace(document, groups=groups)


def _entry(entry: CatalogEntry) -> dict[str, Any]:
    return {
        "id": entry.document_id,
        "object": "document",
        "title": entry.title,
        "version": entry.version,
        "chunks": entry.chunks,
        "groups": sorted(entry.groups),
        "updated_at": int(entry.updated_at.timestamp()),
    }
