"""A server-sent event stream as a response; the events' generator is closed however it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.gateway.disconnect import until_disconnect

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStream(Response):
    """Sends each item of `events` (a complete event) at once. It never holds one back.

    more: further headers, asked when the first event is there.
    """

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[bytes, None], more: Callable[[], Mapping[str, str]]
    ) -> None:
        super().__init__()
        self._events = events
        self._more = more

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await until_disconnect(receive, self._send(send))
        except ClientDisconnect:
            pass
        finally:
            await self._events.aclose()

    async def _send(self, send: Send) -> None:
        async with aclosing(self._events) as events:
            # A refusal comes before the first event, and so before the status line.
            first = await anext(events)
            headers = [*_HEADERS, *((n.encode(), v.encode()) for n, v in self._more().items())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
