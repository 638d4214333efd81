"""`/admin/v1/tenants/{id}/export` and `/restore`: a tenant's documents as one file."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from starlette.requests import Request

from isolation.context import OperatorContext
from isolation.tenant_id import TenantId, tenant_id
from rag.transfer import TenantTransfer
from serving.control.acting import acting_as
from serving.gateway.dependencies import Operator, Parts
from serving.gateway.runtime import Runtime

router = APIRouter(prefix="/admin/v1/tenants")


@router.get("/{name}/export")
async def export_tenant(name: str, operator: Operator, parts: Parts) -> StreamingResponse:
    """The tenant's archive. Without its last line it is not whole, and no restore takes it."""
    tenant = tenant_id(name)
    await parts.registry.require(operator, tenant)
    return StreamingResponse(_archive(operator, tenant, parts), media_type="application/gzip")


async def _archive(
    operator: OperatorContext, tenant: TenantId, parts: Runtime
) -> AsyncGenerator[bytes, None]:
    async with acting_as(operator, tenant, parts.registry, parts.tenants_keys) as ctx:
        async for piece in parts.transfer.exported(operator, ctx):
            if piece:
                yield piece


@router.post("/{name}/restore")
async def restore_tenant(
    name: str, request: Request, operator: Operator, parts: Parts, archived_as: str | None = None
) -> dict[str, Any]:
    """Restore the archive in the body; 422 if it is damaged, another tenant's or another model's.

    archived_as: whose archive it is, where that is another tenant's on purpose.
    """
    tenant = tenant_id(name)
    transfer: TenantTransfer = parts.transfer
    with parts.spool.file() as path:
        with path.open("wb") as file:
            async for piece in request.stream():
                file.write(piece)
        async with acting_as(operator, tenant, parts.registry, parts.tenants_keys) as ctx:
            restored = await transfer.restore(operator, ctx, path, archived_as or tenant)
    return {"object": "tenant", "id": tenant, **asdict(restored)}
