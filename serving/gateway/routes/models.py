"""`GET /v1/models`: the base model, the embedding model, and the tenant's own adapters."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from serving.gateway.chat import BASE_MODEL
from serving.gateway.dependencies import Parts, Tenant

router = APIRouter()


@router.get("/v1/models")
async def list_models(ctx: Tenant, parts: Parts) -> dict[str, Any]:
    """What the tenant may name in `model`."""
    names = (BASE_MODEL, parts.embedder.name)
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "platform"} for name in names]
    return {"object": "list", "data": data}
