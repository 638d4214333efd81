"""What a server may do instead of an answer."""

from __future__ import annotations

import asyncio

from aiohttp import web

from tests.rag.loopback.server import Fault

# An error text as a server may write it: it quotes the request.
QUOTED = "30 days"


def status(code: int, **headers: str) -> Fault:
    """An error status, whose text quotes the request."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"status": {"error": QUOTED}}, status=code, headers=headers)

    return answer


def malformed(text: str) -> Fault:
    """A good status with a body that is none."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type="application/json")

    return answer


async def silent(request: web.Request) -> web.StreamResponse:
    """No answer, for long."""
    await asyncio.sleep(60)
    raise AssertionError("nobody waits so long")


async def dripping(request: web.Request) -> web.StreamResponse:
    """An answer that comes byte by byte, so that no single silence is long."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def cut(request: web.Request) -> web.StreamResponse:
    """The connection ends in the middle of the answer."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"result": {"poi')
    assert request.transport is not None
    request.transport.abort()
    return response


def on(path: str, fault: Fault) -> Fault:
    """Only for routes that end so."""

    async def answer(request: web.Request) -> web.StreamResponse | None:
        return await fault(request) if request.path.endswith(path) else None

    return answer


def times(number: int, fault: Fault) -> Fault:
    """Only the first times."""
    left = [number]

    async def answer(request: web.Request) -> web.StreamResponse | None:
        if not left[0]:
            return None
        left[0] -= 1
        return await fault(request)

    return answer
