"""`/v1/adapters`: a tenant's own adapters. `/admin/v1/adapters`: everybody's, for the operator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import Request

from isolation.context import require_unrestricted
from isolation.errors import BulkheadError, InvalidRequestError
from isolation.tenant_id import tenant_id
from serving.adapters.checks import Upload
from serving.adapters.errors import AdapterNotFoundError
from serving.adapters.manifest import decoded
from serving.adapters.names import parse_reference
from serving.adapters.ports import AdapterRecord
from serving.adapters.registry import AdapterRegistry
from serving.gateway.adapter_form import read_adapter_form
from serving.gateway.dependencies import Operator, Parts, Tenant, operators
from serving.gateway.runtime import AdapterParts

router = APIRouter()
_MOST_METRICS = 32


async def _adapters(parts: Parts) -> AdapterParts:
    if parts.adapters is None:
        raise HTTPException(404)
    return parts.adapters


Adapters = Annotated[AdapterParts, Depends(_adapters)]


class _Change(BaseModel):
    model_config = ConfigDict(extra="forbid")

    state: Literal["revoked"]


@router.post("/v1/adapters", status_code=201)
async def add_adapter(request: Request, ctx: Tenant, adapters: Adapters) -> dict[str, Any]:
    """Store the newest version of an adapter: a multipart form with `name`, PEFT's two files, and
    optionally `metrics`, a JSON object of numbers.
    """
    require_unrestricted(ctx)
    with adapters.uploads.folder() as folder:
        upload = await _received(request, folder, adapters.registry.limits.bytes)
        return _shown(await adapters.registry.of(ctx).add(upload))


@router.get("/v1/adapters")
async def list_adapters(ctx: Tenant, adapters: Adapters) -> dict[str, Any]:
    """All versions of the tenant's adapters, revoked ones too, and what an upload must fit."""
    listed = _list(await adapters.registry.of(ctx).versions())
    return listed | {"accepts": _accepted(adapters.registry)}


# A path, so that what is no name gets the same answer as what is nobody's.
@router.get("/v1/adapters/{reference:path}")
async def get_adapter(reference: str, ctx: Tenant, adapters: Adapters) -> dict[str, Any]:
    """One version (`name@3`), or all of a name."""
    wanted = parse_reference(reference)
    versions = await adapters.registry.of(ctx).versions(wanted.name)
    if wanted.version is None and versions:
        return _list(versions)
    for record in versions:
        if record.version == wanted.version:
            return _shown(record)
    raise AdapterNotFoundError


@router.delete("/v1/adapters/{reference:path}")
async def delete_adapter(reference: str, ctx: Tenant, adapters: Adapters) -> dict[str, Any]:
    """Delete one version, or all of a name: no request is served by it from now on."""
    removed = await adapters.registry.of(ctx).delete(parse_reference(reference))
    return {"id": reference, "object": "adapter", "deleted": True, "versions": len(removed)}


@router.get("/admin/v1/adapters")
async def list_everybodys(operator: Operator, adapters: Adapters) -> dict[str, Any]:
    """All versions of all tenants."""
    records = await adapters.registry.everybodys(operator)
    data = [{"tenant_id": record.tenant, **_shown(record)} for record in records]
    return {"object": "list", "data": data}


@router.patch("/admin/v1/adapters/{tenant}/{reference:path}")
async def revoke_adapter(
    tenant: str,
    reference: str,
    asked: Annotated[_Change, Depends(operators(_Change))],
    operator: Operator,
    adapters: Adapters,
) -> dict[str, Any]:
    """Take versions out of service, at once and for good. Running answers end."""
    wanted = parse_reference(reference)
    revoked = await adapters.registry.revoke(operator, tenant_id(tenant), wanted)
    return {"id": reference, "object": "adapter", "state": asked.state, "versions": len(revoked)}


@router.delete("/admin/v1/adapters/{tenant}/{reference:path}")
async def delete_a_tenants(
    tenant: str, reference: str, operator: Operator, adapters: Adapters
) -> dict[str, Any]:
    """Delete one version of a tenant's adapter, or all of a name."""
    wanted = parse_reference(reference)
    removed = await adapters.registry.delete(operator, tenant_id(tenant), wanted)
    return {"id": reference, "object": "adapter", "deleted": True, "versions": len(removed)}


async def _received(request: Request, folder: Path, limit: int) -> Upload:
    form = await read_adapter_form(request, folder, limit)
    return Upload(folder, form.one("name") or "", _metrics(form.one("metrics") or "{}"))


def _metrics(text: str) -> dict[str, float]:
    try:
        metrics = orjson.loads(text)
    except orjson.JSONDecodeError:
        metrics = None
    if not isinstance(metrics, dict) or len(metrics) > _MOST_METRICS:
        raise InvalidRequestError("metrics: a JSON object of numbers.", param="metrics")
    for name, value in metrics.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or len(name) > 64:
            raise InvalidRequestError("metrics: a JSON object of numbers.", param="metrics")
    return metrics


def _accepted(registry: AdapterRegistry) -> dict[str, Any] | None:
    """None where the platform does not know its base model: then it takes no upload either."""
    try:
        base = registry.base()
    except BulkheadError:
        return None
    return {
        "base_model": base.name,
        "layers": base.layers,
        "modules": base.shapes,
        "rank": registry.limits.rank,
        "bytes": registry.limits.bytes,
        "versions": registry.limits.versions,
    }


def _list(records: Sequence[AdapterRecord]) -> dict[str, Any]:
    return {"object": "list", "data": [_shown(record) for record in records]}


def _shown(record: AdapterRecord) -> dict[str, Any]:
    """What a tenant may know of its version: nothing of keys, folders or the engine."""
    manifest = decoded(record.manifest)
    return {
        "id": f"{record.name}@{record.version}",
        "object": "adapter",
        "name": record.name,
        "version": record.version,
        "state": record.state,
        "base_model": manifest.base_model,
        "rank": manifest.rank,
        "alpha": manifest.alpha,
        "target_modules": list(manifest.target_modules),
        "dtype": manifest.dtype,
        "files": {name: asdict(entry) for name, entry in manifest.files.items()},
        "metrics": dict(manifest.metrics),
        "created_at": int(datetime.fromisoformat(manifest.created_at).timestamp()),
        "created_by": manifest.created_by,
    }
