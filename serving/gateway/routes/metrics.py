"""`GET /metrics`: the operator's, with the operator's key."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from serving.gateway.dependencies import Operator, Parts

router = APIRouter()


@router.get("/metrics")
async def metrics(operator: Operator, parts: Parts) -> Response:
    """Prometheus' text format."""
    parts.metrics.engine_ready.set(1 if parts.readiness().ready else 0)
    return Response(parts.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)
