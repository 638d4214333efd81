"""What routes ask for: the parts, the authenticated tenant, the authenticated operator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends
from pydantic import BaseModel
from starlette.requests import Request

from isolation.context import OperatorContext, TenantContext
from serving.gateway.json_body import invalid, read_json
from serving.gateway.runtime import Runtime

# A policy may allow 2,000 terms of 200 characters.
_OPERATORS_BYTES, _OPERATORS_VALUES = 3_000_000, 10_000
Model = TypeVar("Model", bound=BaseModel)


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


async def _parts(request: Request) -> Runtime:
    # FastAPI calls what is not async in another thread.
    return _runtime(request)


def _bearer(request: Request) -> str:
    """The presented key; a missing or misspelt header presents an empty one."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


async def _tenant(request: Request) -> TenantContext:
    runtime = _runtime(request)
    ctx = await runtime.tenants_keys.authenticate(_bearer(request))
    request.state.tenant = ctx.tenant_id  # a label for the log line, and nothing else
    request.state.leave = runtime.in_flight.enter(ctx)  # called when all is sent (`observed`)
    return ctx


async def _operator(request: Request) -> OperatorContext:
    return _runtime(request).operator_keys.authenticate(_bearer(request))


Parts = Annotated[Runtime, Depends(_parts)]
Tenant = Annotated[TenantContext, Depends(_tenant)]
Operator = Annotated[OperatorContext, Depends(_operator)]


def operators(model: type[Model]) -> Callable[[Request, Operator], Awaitable[Model]]:
    """For `Depends`: a body that is read after the operator's key. FastAPI would read it before."""

    async def read(request: Request, operator: Operator) -> Model:
        limits = {"limit": _OPERATORS_BYTES, "values": _OPERATORS_VALUES}
        return await read_json(request, model, **limits, refusal=invalid)

    return read
