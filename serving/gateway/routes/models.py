"""`GET /v1/models`: the base model, the embedding model, and the tenant's own adapters."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter

from isolation.context import TenantContext
from serving.adapters.manifest import decoded
from serving.adapters.names import BASE
from serving.adapters.ports import ACTIVE
from serving.gateway.dependencies import Parts, Tenant
from serving.gateway.runtime import Runtime

router = APIRouter()


@router.get("/v1/models")
async def list_models(ctx: Tenant, parts: Parts) -> dict[str, Any]:
    """What the tenant may name in `model`. An adapter's bare name means its newest version."""
    shared = [_model(name, 0, "platform") for name in (BASE, parts.embedder.name)]
    return {"object": "list", "data": shared + await _own(ctx, parts)}


async def _own(ctx: TenantContext, parts: Runtime) -> list[dict[str, Any]]:
    if parts.adapters is None:
        return []
    created: dict[str, int] = {}
    for record in await parts.adapters.registry.of(ctx).versions():
        if record.state == ACTIVE:
            moment = int(datetime.fromisoformat(decoded(record.manifest).created_at).timestamp())
            created[record.name] = created[f"{record.name}@{record.version}"] = moment
    return [_model(name, moment, ctx.tenant_id) for name, moment in sorted(created.items())]


def _model(name: str, created: int, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner}
