"""`/admin/v1`: tenants, keys and usage, for the operator alone. Errors are RFC 9457 problems."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from isolation.errors import InvalidRequestError
from isolation.policy import Limits
from isolation.tenant_id import tenant_id
from serving.gateway.dependencies import Operator, Parts, operators
from serving.metering.months import month_begin

router = APIRouter(prefix="/admin/v1")


class _NewTenant(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    tier: str = "starter"


Limit = Annotated[int, Field(ge=1, le=10**12)] | None


class _Limits(BaseModel):
    """What is not named stays as it is; null: no such limit."""

    model_config = ConfigDict(extra="forbid")

    requests_per_minute: Limit = None
    tokens_per_minute: Limit = None
    tokens_per_month: Limit = None

    def named(self) -> Limits:
        """Those that are in the body."""
        return cast("Limits", self.model_dump(exclude_unset=True))


class _TenantChange(BaseModel):
    """limits: null takes a tenant back to its tier's."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["active", "suspended"] | None = None
    limits: _Limits | None = None


class _NewKey(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tenant_id: str
    expires_in_seconds: int | None = Field(None, ge=1, le=10 * 365 * 86_400)
    groups: list[str] | None = None


class _Reembedding(BaseModel):
    model_config = ConfigDict(extra="forbid")

    embedding: str = Field(min_length=1, max_length=200)


@router.post("/reembedding", status_code=202)
async def reembed(
    asked: Annotated[_Reembedding, Depends(operators(_Reembedding))],
    operator: Operator,
    parts: Parts,
) -> dict[str, Any]:
    """Make all vectors anew with an installed model; 409 while that is being done."""
    await parts.reembedding.start(operator, asked.embedding)
    return {"object": "reembedding", **parts.reembedding.status(operator)}


@router.get("/reembedding")
async def reembedding(operator: Operator, parts: Parts) -> dict[str, Any]:
    """How far it is."""
    return {"object": "reembedding", **parts.reembedding.status(operator)}


@router.post("/tenants", status_code=201)
async def add_tenant(
    asked: Annotated[_NewTenant, Depends(operators(_NewTenant))], operator: Operator, parts: Parts
) -> dict[str, Any]:
    """Add a tenant; 409 if there is one of this id."""
    tenant = tenant_id(asked.id)
    await parts.registry.add(operator, tenant, asked.tier)
    return {"object": "tenant", "id": tenant, "tier": asked.tier, "state": "active"}


@router.get("/tenants")
async def list_tenants(operator: Operator, parts: Parts) -> dict[str, Any]:
    """All tenants, and where their chunks are."""
    tenants, places = await parts.registry.list(operator), await parts.places.all(operator)
    return {
        "object": "list",
        "data": [
            {"object": "tenant", **asdict(tenant), **asdict(places[tenant.id])}
            for tenant in tenants
            if tenant.id in places
        ],
    }


@router.patch("/tenants/{name}")
async def change_tenant(
    name: str,
    asked: Annotated[_TenantChange, Depends(operators(_TenantChange))],
    operator: Operator,
    parts: Parts,
) -> dict[str, Any]:
    """Suspend a tenant or take it back into service; give it limits of its own."""
    tenant, changed = tenant_id(name), dict[str, Any]()
    if asked.state is not None:
        await parts.registry.set_suspended(operator, tenant, asked.state == "suspended")
        changed["state"] = asked.state
    if "limits" in asked.model_fields_set:
        named = None if asked.limits is None else asked.limits.named()
        changed["limits"] = await parts.registry.set_limits(operator, tenant, named)
    if not changed:
        raise InvalidRequestError("Name a state, or limits.")
    return {"object": "tenant", "id": name, **changed}


@router.post("/tenants/{name}/promote")
async def promote_tenant(name: str, operator: Operator, parts: Parts) -> dict[str, Any]:
    """Give a tenant a shard of its own, while it is served; may be repeated after any failure."""
    chunks = await parts.places.promote(operator, tenant_id(name))
    return {"object": "tenant", "id": name, "placement": "own", "chunks": chunks}


@router.delete("/tenants/{name}")
async def delete_tenant(name: str, operator: Operator, parts: Parts) -> dict[str, Any]:
    """Delete a tenant and all that is its own. Its id is not given again; its usage stays."""
    deleted = await parts.deletion.delete(operator, tenant_id(name))
    return {"object": "tenant", "id": name, "deleted": True, **asdict(deleted)}


@router.post("/keys", status_code=201)
async def issue_key(
    asked: Annotated[_NewKey, Depends(operators(_NewKey))], operator: Operator, parts: Parts
) -> dict[str, Any]:
    """A new key of a tenant; its text is in this answer and nowhere else.

    With `groups`, it reads documents of these groups and of none, and writes no documents.
    """
    seconds = asked.expires_in_seconds
    key = await parts.registry.issue_key(
        operator,
        tenant_id(asked.tenant_id),
        expires_in=timedelta(seconds=seconds) if seconds is not None else None,
        groups=asked.groups,
    )
    return {"object": "api_key", "id": key.key_id, "api_key": key.text}


@router.delete("/keys/{key_id}")
async def revoke_key(key_id: str, operator: Operator, parts: Parts) -> dict[str, Any]:
    """Revoke a key, at once and for good."""
    await parts.registry.revoke_key(operator, key_id)
    return {"object": "api_key", "id": key_id, "revoked": True}


@router.get("/usage")
async def usage(operator: Operator, parts: Parts, since: datetime | None = None) -> dict[str, Any]:
    """The sums of each tenant; without `since`, of this calendar month (UTC)."""
    begin = since or month_begin()
    totals = await parts.usage.totals(operator, begin)
    data = [{"tenant_id": tenant, **asdict(sums)} for tenant, sums in totals.items()]
    if parts.adapters is not None:
        resident = await parts.adapters.residency.totals(operator, begin)
        for row in data:
            row["adapter_byte_seconds"] = resident.get(row["tenant_id"], 0)
    return {"object": "list", "since": begin.isoformat(), "data": data}
