"""What routes ask for: the parts, the authenticated tenant, the authenticated operator."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from isolation.context import OperatorContext, TenantContext
from serving.gateway.runtime import Runtime


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


def _bearer(request: Request) -> str:
    """The presented key; a missing or misspelt header presents an empty one."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


async def _tenant(request: Request) -> TenantContext:
    ctx = await _runtime(request).tenants_keys.authenticate(_bearer(request))
    request.state.tenant = ctx.tenant_id  # a label for the log line, and nothing else
    return ctx


async def _operator(request: Request) -> OperatorContext:
    return _runtime(request).operator_keys.authenticate(_bearer(request))


Parts = Annotated[Runtime, Depends(_runtime)]
Tenant = Annotated[TenantContext, Depends(_tenant)]
Operator = Annotated[OperatorContext, Depends(_operator)]
