"""Nothing of a body is read before its sender is known: who has no key costs no memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, cast

import pytest
from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Scope

from serving.engine.client import EngineClient
from serving.gateway.app import create_app
from serving.gateway.dependencies import Operator, operators
from serving.gateway.observed import Observed
from tests.gateway.fakes import Files, Ledger, Limiter, Search, runtime

_WITH_BODIES = {"POST", "PUT", "PATCH"}


def _routes(application: FastAPI) -> list[tuple[str, str]]:
    """Method and path of each route that may have a body; names in paths are `x`."""
    return sorted(
        (method, re.sub(r"\{[^}]*\}", "x", route.path))
        for included in application.routes
        for route in getattr(included, "original_router").routes  # noqa: B009  # not public
        for method in route.methods & _WITH_BODIES
    )


async def _answer(
    app: ASGIApp, method: str, path: str, key: str, *, length: int = 10_000_000_000
) -> tuple[int, int]:
    """The status, and how often the application asked for the body."""
    scope: Scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http"},
        **{"method": method, "path": path, "raw_path": path.encode(), "query_string": b""},
        "headers": [
            (b"authorization", f"Bearer {key}".encode()),
            (b"content-type", b"application/json"),
            (b"content-length", str(length).encode()),
            (b"host", b"127.0.0.1"),
        ],
        **{"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)},
    }
    status, asked = 0, 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    await app(scope, receive, send)
    return status, asked


@pytest.fixture
def gateway(tmp_path: Path) -> ASGIApp:
    parts = {"search": Search(), "limiter": Limiter(), "ledger": Ledger()}
    return create_app(runtime(cast("EngineClient", None), files=Files(tmp_path), **parts))


def _application(gateway: ASGIApp) -> FastAPI:
    application = cast("Observed", gateway)._app
    assert isinstance(application, FastAPI)
    return application


@pytest.mark.parametrize("key", ["", "bk_unknown", "key-f"])
async def test_no_route_asks_for_the_body_of_who_has_no_right(gateway: ASGIApp, key: str) -> None:
    """Of nobody's key, and of a tenant's on the operator's side."""
    routes = _routes(_application(gateway))
    assert len(routes) > 20
    for method, path in routes:
        if key == "key-f" and not path.startswith("/admin/"):
            continue
        status, asked = await _answer(gateway, method, path, key)
        # 404: what the operator switched off.
        assert (status in (401, 404), asked) == (True, 0), (method, path, status)


async def test_the_body_of_who_has_one_is_read(gateway: ASGIApp) -> None:
    """The control."""
    assert (await _answer(gateway, "POST", "/v1/search", "key-f", length=2))[1] > 0
    assert (await _answer(gateway, "POST", "/admin/v1/tenants", "operator", length=2))[1] > 0


async def test_a_body_that_is_declared_too_large_is_not_read(gateway: ASGIApp) -> None:
    for method, path, key in (
        ("POST", "/v1/search", "key-f"),
        ("POST", "/v1/chat/completions", "key-f"),
        ("POST", "/v1/documents", "key-f"),
        ("POST", "/admin/v1/tenants", "operator"),
    ):
        assert await _answer(gateway, method, path, key) == (413, 0)


class _Asked(BaseModel):
    id: str


@pytest.mark.parametrize("leaky", [True, False])
async def test_a_route_that_fastapi_reads_for_is_caught(gateway: ASGIApp, leaky: bool) -> None:
    """The leaky twin, beside the same route as ours are."""
    router = APIRouter()

    @router.post("/admin/v1/leaky")
    async def read_by_fastapi(asked: _Asked, operator: Operator) -> None:
        raise AssertionError

    @router.post("/admin/v1/tight")
    async def read_by_us(
        asked: Annotated[_Asked, Depends(operators(_Asked))], operator: Operator
    ) -> None:
        raise AssertionError

    _application(gateway).include_router(router)
    path = "/admin/v1/leaky" if leaky else "/admin/v1/tight"
    status, asked = await _answer(gateway, "POST", path, "")
    assert (status, asked > 0) == (401, leaky)
