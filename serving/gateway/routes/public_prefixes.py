"""`/admin/v1/public-prefixes`: what is shared with all tenants, for the operator alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from serving.control.public_prefixes import KeptPrefix, SharedText
from serving.gateway.dependencies import Operator, Parts
from serving.gateway.json_body import read_json
from serving.gateway.ports import ListedPrefix
from serving.gateway.tools import Tool, check_tools

router = APIRouter(prefix="/admin/v1/public-prefixes")

_MOST_BYTES, _MOST_CHARACTERS = 500_000, 65_536
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class _Shared(BaseModel):
    model_config = ConfigDict(extra="forbid")

    system: str = Field("", max_length=_MOST_CHARACTERS)
    tools: list[Tool] = []


@router.put("/{name}")
async def publish(name: Name, request: Request, operator: Operator, parts: Parts) -> dict[str, Any]:
    """Share the beginning of chats that send this system turn and offer these tools.

    With neither, the platform's own system text, with which every chat begins.
    """
    asked = await read_json(request, _Shared, limit=_MOST_BYTES, values=10_000)
    check_tools(asked.tools, None)
    text = SharedText(asked.system, tuple(tool.as_dict() for tool in asked.tools))
    return _listed(await parts.public_prefixes.publish(operator, name, text))


@router.get("")
async def list_all(operator: Operator, parts: Parts) -> dict[str, Any]:
    """All of them, and what is public in the engine; `engine` is null where none can be asked."""
    listed, there = await parts.public_prefixes.list(operator)
    engine = None if there is None else {"tokens": there.tokens, "room": there.room}
    return {"object": "list", "data": [_listed(one) for one in listed], "engine": engine}


@router.get("/{name}")
async def get(name: Name, operator: Operator, parts: Parts) -> dict[str, Any]:
    """One, whole, with the audit trail of its name."""
    kept, steps = await parts.public_prefixes.get(operator, name)
    shown = [asdict(step) | {"at": int(step.at.timestamp())} for step in steps]
    return {
        **_kept(kept),
        "system": kept.text.system,
        "tools": list(kept.text.tools),
        "steps": shown,
    }


@router.delete("/{name}")
async def withdraw(
    name: Name, operator: Operator, parts: Parts, now: bool = False
) -> dict[str, Any]:
    """Share it no more. It leaves the engine at its next flush or start; `now`: it is flushed."""
    await parts.public_prefixes.withdraw(operator, name, now=now)
    return {"object": "public_prefix", "name": name, "deleted": True}


def _kept(kept: KeptPrefix) -> dict[str, Any]:
    return {
        "object": "public_prefix",
        "name": kept.name,
        "digest": kept.text.digest,
        "published_at": int(kept.published_at.timestamp()),
    }


def _listed(listed: ListedPrefix) -> dict[str, Any]:
    said = {"state": listed.state, "reason": listed.reason or None, "tokens": listed.length}
    return _kept(listed.kept) | {name: value for name, value in said.items() if value is not None}
