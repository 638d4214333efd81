"""`/admin/v1/dead-letters`: requests that engines died of, for the operator alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from serving.gateway.dependencies import Operator, Parts

router = APIRouter(prefix="/admin/v1/dead-letters")


@router.get("")
async def dead_letters(operator: Operator, parts: Parts) -> dict[str, Any]:
    """All, the newest first. Nothing of a request is kept, so nothing of one is shown."""
    letters = await parts.crashes.dead_letters(operator)
    return {
        "object": "list",
        "data": [{"object": "dead_letter", **asdict(letter)} for letter in letters],
    }


@router.delete("/{dead_letter}")
async def release(dead_letter: str, operator: Operator, parts: Parts) -> dict[str, Any]:
    """Let its request be tried again."""
    await parts.crashes.release(operator, dead_letter)
    return {"object": "dead_letter", "id": dead_letter, "released": True}
