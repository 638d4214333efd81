"""A request's cost in its own answer: one more event before a stream's end, else a header."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

COST_HEADER = "x-bulkhead-cost"
_DONE = b"data: [DONE]\n\n"

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


def with_cost(send: Send, cost: Callable[[], dict[str, Any] | None]) -> Send:
    """`send` that adds what `cost` says when the answer ends."""
    streams = False

    async def sending(message: Message) -> None:
        nonlocal streams
        if message["type"] == "http.response.start":
            streams = b"text/event-stream" in dict(message["headers"]).get(b"content-type", b"")
            if not streams and (found := cost()):
                header = (COST_HEADER.encode(), json.dumps(found).encode())
                message = {**message, "headers": [*message["headers"], header]}
        elif streams and message.get("body", b"").endswith(_DONE) and (found := cost()):
            event = b"data: " + json.dumps({"bulkhead": found}).encode() + b"\n\n"
            message = {**message, "body": message["body"].removesuffix(_DONE) + event + _DONE}
        await send(message)

    return sending
