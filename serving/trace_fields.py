"""What a span may hold when it is exported: known names, and known attributes of known shapes.

As with log lines (`serving/log_fields.py`): a list of what must not leave is never complete. So the
exporter gets a new span with what is listed here, and nothing else: no other attribute, no event
(an exception's text and stack trace are events), no link, no description of a status, no trace
state, no name that somebody made of a URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext
from opentelemetry.trace.status import Status

SCOPE = InstrumentationScope("bulkhead")
STEPS = frozenset(("retrieval", "compression", "masking", "queue", "engine"))
REQUEST = "request"
UNKNOWN = "unknown"

_NUMBERS = frozenset(
    {
        "http.response.status_code",
        *("bulkhead.passages", "bulkhead.texts", "bulkhead.first_token_ms"),
        *("bulkhead.prompt_tokens", "bulkhead.cached_tokens", "bulkhead.completion_tokens"),
    }
)
_TEXTS = {
    "http.request.method": re.compile(r"[A-Z]{3,7}"),
    # A pattern of the code: what stands in braces is the tenant's, and is not filled in.
    "http.route": re.compile(r"(?:/(?:[a-z0-9_-]{1,30}|\{[a-z_:]{1,30}\}))+|/|unknown"),
    "error.type": re.compile(r"[A-Za-z_]{1,60}"),
    "bulkhead.tenant": re.compile(r"[0-9a-f]{16}"),
    "bulkhead.request": re.compile(r"[0-9a-f]{32}"),
}


class OnlyKnown(SpanExporter):
    """An exporter that hands on what is listed here. resource: of this process, for all spans."""

    def __init__(self, exporter: SpanExporter, resource: Resource) -> None:
        self._exporter = exporter
        self._resource = resource

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([self._known(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _known(self, span: ReadableSpan) -> ReadableSpan:
        return ReadableSpan(
            name=span.name if span.name in STEPS | {REQUEST} else UNKNOWN,
            context=_ids(span.context),
            parent=_ids(span.parent),
            resource=self._resource,
            attributes=known_attributes(span.attributes or {}),
            kind=span.kind,
            instrumentation_scope=SCOPE,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
        )


def known_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Those that may leave."""
    return {name: value for name, value in attributes.items() if _may_leave(name, value)}


def _may_leave(name: str, value: Any) -> bool:
    if name in _NUMBERS:
        return isinstance(value, int | float)
    shape = _TEXTS.get(name)
    return shape is not None and isinstance(value, str) and shape.fullmatch(value) is not None


def _ids(context: SpanContext | None) -> SpanContext | None:
    """Without the trace state, which may be a caller's."""
    if context is None:
        return None
    return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags)
