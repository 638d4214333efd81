"""Server-sent events as OpenAI-compatible servers send them: one `data:` line an event."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import aiohttp


async def data_lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """The events' data up to `[DONE]`; events may be cut anywhere by the network."""
    rest = b""
    async for block in content.iter_any():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            yield data
