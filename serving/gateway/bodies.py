"""Reading request bodies with a limit, before anything is parsed."""

from __future__ import annotations

from starlette.requests import Request

from serving.errors import PayloadTooLargeError


async def read_body(request: Request, limit: int) -> bytes:
    """The body, at most `limit` bytes of it.

    Raises:
        PayloadTooLargeError: there is more; the rest is not read.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise PayloadTooLargeError(limit)
    blocks: list[bytes] = []
    size = 0
    async for block in request.stream():
        size += len(block)
        if size > limit:
            raise PayloadTooLargeError(limit)
        blocks.append(block)
    return b"".join(blocks)
