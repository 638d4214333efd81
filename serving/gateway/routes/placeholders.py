"""`POST /v1/placeholders`: what an answer's placeholders stand for, for downstream systems."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request

from serving.gateway.dependencies import Parts, Tenant
from serving.gateway.json_body import read_json

router = APIRouter()

_MOST_BYTES = 2_000_000
Placeholder = Annotated[str, StringConstraints(max_length=64)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    conversation: str = Field(max_length=64)
    token: str
    placeholders: list[Placeholder] = Field(min_length=1, max_length=1_000)


@router.post("/v1/placeholders")
async def resolve(request: Request, ctx: Tenant, parts: Parts) -> dict[str, Any]:
    """Resolve the placeholders of an answer that was asked for with `"placeholders": "kept"`.

    It takes the answer's conversation and token, and a key of the tenant without groups.
    """
    asked = await read_json(request, _Asked, limit=_MOST_BYTES, values=2_000)
    values = await parts.conversations.resolve(
        ctx, asked.conversation, asked.token, asked.placeholders
    )
    pairs = zip(asked.placeholders, values, strict=True)
    return {"object": "list", "data": [{"placeholder": p, "value": value} for p, value in pairs]}
