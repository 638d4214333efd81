"""`/healthz` (the process lives) and `/readyz` (it can answer chats)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from serving.gateway.dependencies import Parts

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(parts: Parts) -> JSONResponse:
    """200 when chats can be answered; else 503, and what is missing. Nothing of any tenant."""
    readiness = parts.readiness()
    return JSONResponse(
        {"status": "ready" if readiness.ready else "starting", "detail": readiness.detail},
        status_code=200 if readiness.ready else 503,
    )
