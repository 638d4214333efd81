"""The ASGI application: routes and error handlers around one runtime."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp

from serving.gateway.observed import Observed
from serving.gateway.problems import install_error_handlers
from serving.gateway.routes import (
    adapters,
    admin,
    archive,
    chat,
    dead_letters,
    documents,
    export,
    health,
    metrics,
    models,
    page,
    placeholders,
    policies,
    public_prefixes,
    retrieval,
    rollouts,
    usage,
)
from serving.gateway.runtime import Runtime

# FastAPI's own spans and log records hold URLs, errors' texts and stack traces, and go out where
# a variable says so. What may be told of a request is told by `Observed`.
_SILENT: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def create_app(runtime: Runtime) -> ASGIApp:
    """The application. The runtime's owner opens and closes its parts."""
    app = FastAPI(
        title="Bulkhead", docs_url=None, redoc_url=None, openapi_url=None, telemetry=_SILENT
    )
    app.state.runtime = runtime
    install_error_handlers(app)
    tenants = (
        chat,
        documents,
        export,
        retrieval,
        models,
        rollouts,
        adapters,
        usage,
        placeholders,
    )
    operators = (admin, archive, dead_letters, policies, public_prefixes)
    for module in (health, *tenants, *operators, metrics, page):
        app.include_router(module.router)
    return Observed(app, runtime.metrics, runtime.traces)
