"""Traces by OpenTelemetry: a span for each request and its steps, with ids, counts and durations.

Off unless the standard variables name a collector (`OTEL_EXPORTER_OTLP_ENDPOINT`, or the one for
traces alone). What may be in a span is `serving/trace_fields.py`'s; it stands between the spans
and the exporter. The provider is this module's own and never the global one, so that no library's
instrumentation speaks through it. Spans have explicit parents, and no context variable.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NoOpTracer,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.errors import StartupError
from serving.trace_fields import REQUEST, SCOPE, OnlyKnown

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_KNOWN_PROTOCOL = "http/protobuf"


class Step:
    """One step of a request, or the whole. As a context manager it ends with its block, and says
    which kind of error broke it off, and nothing of its text."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._ended = False

    def note(self, **numbers: float) -> None:
        """Counts and durations; each must be listed in `trace_fields`."""
        for name, number in numbers.items():
            self._set(f"bulkhead.{name}", number)

    def end(self) -> None:
        """It is over; later calls change nothing."""
        if not self._ended:
            self._ended = True
            self._span.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, Exception) and not self._ended:
            self._set("error.type", kind.__name__)
            self._span.set_status(Status(StatusCode.ERROR))
        self.end()

    def _set(self, name: str, value: str | float) -> None:
        if not self._ended:
            self._span.set_attribute(name, value)


class RequestTrace(Step):
    """One HTTP request."""

    def __init__(self, tracer: Tracer, span: Span, key: bytes) -> None:
        super().__init__(span)
        self._tracer = tracer
        self._key = key

    @property
    def id(self) -> str | None:
        """The trace's id, for the log; None if nothing is recorded."""
        context = self._span.get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else None

    def step(self, name: str) -> Step:
        """A step of it begins; `name` must be listed in `trace_fields`."""
        parent = set_span_in_context(self._span, Context())
        return Step(self._tracer.start_span(name, parent))

    def named(self, request_id: str) -> None:
        """The platform's own id of a chat."""
        self._set("bulkhead.request", request_id)

    def answered(self, method: str, route: str, status: int, tenant: str | None) -> None:
        """How it ended. The tenant is told by a keyed hash of its id: who collects traces can tell
        tenants apart, and cannot name them. The log has trace and tenant."""
        self._set("http.request.method", method)
        self._set("http.route", route)
        self._set("http.response.status_code", status)
        if tenant is not None:
            self._set("bulkhead.tenant", opaque(tenant, self._key))
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))
        self.end()


class Traces:
    """Where requests begin their traces. takes_context: whether a caller's `traceparent` is the
    parent; its trace state and baggage never are."""

    def __init__(
        self, provider: TracerProvider | None = None, key: bytes = b"", takes_context: bool = False
    ) -> None:
        self._provider = provider
        self._tracer = NoOpTracer() if provider is None else provider.get_tracer(SCOPE.name)
        self._key = key
        self._takes_context = takes_context

    def request(self, headers: Mapping[str, str]) -> RequestTrace:
        """A request begins; it and its steps end by themselves."""
        parent = Context()
        if self._takes_context and "traceparent" in headers:
            given = {"traceparent": headers["traceparent"]}
            parent = TraceContextTextMapPropagator().extract(given, parent)
        span = self._tracer.start_span(REQUEST, parent, SpanKind.SERVER)
        return RequestTrace(self._tracer, span, self._key)

    async def close(self) -> None:
        """Send what is left, and stop."""
        if self._provider is not None:
            await asyncio.to_thread(self._provider.shutdown)


def traces_to(
    processor: SpanProcessor, resource: Resource, key: bytes, *, takes_context: bool
) -> Traces:
    """Traces that a processor gets."""
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return Traces(provider, key, takes_context)


def open_traces(environment: Mapping[str, str], key: bytes, *, takes_context: bool) -> Traces:
    """As the standard variables say; without a collector, none.

    key: of the tenants' hashes.

    Raises:
        StartupError: they ask for a protocol that is not spoken here.
    """
    if not any(environment.get(name) for name in _ENDPOINTS) or _off(environment):
        return Traces()
    protocols = [environment[name] for name in _PROTOCOLS if environment.get(name)]
    if protocols and protocols[0] != _KNOWN_PROTOCOL:
        raise StartupError(f"{_PROTOCOLS[1]}: only {_KNOWN_PROTOCOL} is spoken here.")
    resource = Resource.create({SERVICE_NAME: environment.get("OTEL_SERVICE_NAME", "bulkhead")})
    exporter = OnlyKnown(OTLPSpanExporter(), resource)
    return traces_to(BatchSpanProcessor(exporter), resource, key, takes_context=takes_context)


def opaque(tenant: str, key: bytes) -> str:
    """A tenant's name in traces."""
    return hmac.new(key, tenant.encode(), hashlib.sha256).hexdigest()[:16]


def _off(environment: Mapping[str, str]) -> bool:
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return disabled or environment.get("OTEL_TRACES_EXPORTER", "otlp") == "none"


NO_TRACE = Traces().request({})
