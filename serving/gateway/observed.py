"""Around the application: a log line, a measurement and a trace for each request, none of its
content; and a request that was counted in is counted out."""

from __future__ import annotations

import time

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metering.metrics import Metrics
from serving.tracing import RequestTrace, Traces

_log = structlog.get_logger(__name__)


class Observed:
    """ASGI middleware, outermost.

    An error that reaches it has been answered and logged already (`problems`); it goes no further,
    because the server would log its text.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, traces: Traces) -> None:
        self._app = app
        self._metrics = metrics
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, begun = 0, time.monotonic()
        trace = self._traces.request(Headers(scope=scope))
        scope.setdefault("state", {})["trace"] = trace

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if not status:
                raise
            _log.error("request.broke_off", error=type(error).__name__)
        finally:
            if leave := scope["state"].get("leave"):
                leave()
            self._note(scope, status or 499, time.monotonic() - begun, trace)

    def _note(self, scope: Scope, status: int, seconds: float, trace: RequestTrace) -> None:
        # The route's pattern, not the path: ids are the tenant's own.
        route = getattr(scope.get("route"), "path", "unknown")
        tenant = scope["state"].get("tenant")
        trace.answered(scope["method"], route, status, tenant)
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if route not in ("/healthz", "/readyz", "/metrics"):
            _log.info(
                "request",
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 1),
                tenant=tenant,
                **({} if trace.id is None else {"trace": trace.id}),
            )
