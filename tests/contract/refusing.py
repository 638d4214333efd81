"""How the twin platform refuses."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class RefusedError(Exception):
    """A refusal with a code."""

    def __init__(self, status: int, code: str, **headers: str) -> None:
        super().__init__(code)
        self.reply = JSONResponse({"error": {"code": code, "message": code}}, status, headers)


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return error.reply
