"""Errors on the wire: OpenAI's envelope for tenants, RFC 9457 problems for the operator."""

from __future__ import annotations

import secrets
from typing import Any

import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from isolation.errors import BulkheadError, InvalidRequestError, RequestRefusedError

log = structlog.get_logger(__name__)


def envelope(error: RequestRefusedError) -> dict[str, Any]:
    """OpenAI's error object."""
    return {
        "error": {
            "message": error.message,
            "type": error.kind,
            "param": error.param,
            "code": error.code,
        }
    }


def install_error_handlers(app: FastAPI) -> None:
    """Every error that leaves the gateway leaves through here."""
    app.add_exception_handler(RequestRefusedError, _refused)
    app.add_exception_handler(BulkheadError, _bulkhead)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)


def _is_operators(request: Request) -> bool:
    return request.url.path.startswith("/admin/")


def _answer(
    request: Request, status: int, error: RequestRefusedError, headers: dict[str, str]
) -> Response:
    if not _is_operators(request):
        return _json(status, envelope(error), "application/json", headers)
    problem = {
        "type": f"urn:bulkhead:problem:{error.code}",
        "title": error.code.replace("_", " "),
        "status": status,
        "detail": error.message,
        "code": error.code,
    }
    return _json(status, problem, "application/problem+json", headers)


def _json(status: int, body: Any, media_type: str, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefusedError)
    request.app.state.runtime.metrics.refusals.labels(error.code).inc()
    return _answer(request, error.status, error, error.headers)


async def _bulkhead(request: Request, error: Exception) -> Response:
    """An error with a code, but not meant as a refusal: operator errors carry a status."""
    assert isinstance(error, BulkheadError)
    status = getattr(error, "status", None)
    if status is None:
        return await _unexpected(request, error)
    return _answer(request, status, _as_refusal(error), {})


def _as_refusal(error: BulkheadError) -> RequestRefusedError:
    refusal = RequestRefusedError(error.message)
    refusal.code = error.code  # type: ignore[misc]
    return refusal


class _NotFoundError(RequestRefusedError):
    code = "not_found"


class _MethodNotAllowedError(RequestRefusedError):
    code = "method_not_allowed"


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refusal: RequestRefusedError = InvalidRequestError(str(error.detail))
    if error.status_code == 404:
        refusal = _NotFoundError("There is no such route.")
    elif error.status_code == 405:
        refusal = _MethodNotAllowedError("The route does not know this method.")
    return _answer(request, error.status_code, refusal, dict(error.headers or {}))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    # Never `input` or `ctx`: they quote the caller's data.
    return _answer(request, 400, InvalidRequestError(f"{where}: {first['msg']}.", param=where), {})


class _InternalError(RequestRefusedError):
    code = "internal_error"
    kind = "server_error"


async def _unexpected(request: Request, error: Exception) -> Response:
    reference = secrets.token_hex(8)
    # The kind and the place, never the text: an error's text may quote a prompt.
    log.error("unexpected_error", kind=type(error).__name__, at=_place(error), ref=reference)
    message = f"Something failed inside the platform. Tell your operator the reference {reference}."
    return _answer(request, 500, _InternalError(message), {})


def _place(error: BaseException) -> str:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return "unknown" if last is None else f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}"
