"""`GET /v1/usage`: what the tenant has used."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from fastapi import APIRouter

from isolation.policy import limits_of
from serving.gateway.dependencies import Parts, Tenant
from serving.metering.months import month_begin

router = APIRouter()


@router.get("/v1/usage")
async def usage(ctx: Tenant, parts: Parts, since: datetime | None = None) -> dict[str, Any]:
    """The tenant's sums since then; without `since`, of this calendar month (UTC). And its limits;
    null: there is no such."""
    begin = since or month_begin()
    totals = asdict(await parts.usage.of(ctx).totals(begin))
    if parts.adapters is not None:
        resident = await parts.adapters.residency.of(ctx).byte_seconds(begin)
        totals["adapter_byte_seconds"] = resident
    return {"object": "usage", "since": begin.isoformat(), **totals, "limits": limits_of(ctx.tier)}
