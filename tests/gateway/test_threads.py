"""FastAPI gives a thread to what is not `async`: a route that waits for one waits behind everybody
who fills the pool, and each request pays for the way there."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from fastapi import APIRouter, Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from serving.engine.client import EngineClient
from serving.gateway.app import create_app
from serving.gateway.observed import Observed
from tests.gateway.fakes import Files, Ledger, Limiter, Search, runtime


def _called(dependant: Dependant) -> Iterator[str]:
    """What a route calls and is not a coroutine function, by name."""
    call = dependant.call
    if call is not None and not inspect.iscoroutinefunction(call):
        yield getattr(call, "__qualname__", repr(call))
    for needed in dependant.dependencies:
        yield from _called(needed)


def _in_threads(routers: list[APIRouter]) -> set[str]:
    return {
        name
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
        for name in _called(route.dependant)
    }


def test_no_route_waits_for_a_thread(tmp_path: Path) -> None:
    parts = {"search": Search(), "limiter": Limiter(), "ledger": Ledger()}
    gateway = create_app(runtime(cast("EngineClient", None), files=Files(tmp_path), **parts))
    application = cast("FastAPI", cast("Observed", gateway)._app)
    routers = [getattr(included, "original_router") for included in application.routes]  # noqa: B009  # not public
    assert sum(len(router.routes) for router in routers) > 30
    assert _in_threads(routers) == set()


def test_one_that_did_would_be_seen() -> None:
    router = APIRouter()

    def slow() -> None: ...

    @router.get("/x", dependencies=[Depends(slow)])
    async def answer() -> None: ...

    assert _in_threads([router]) == {"test_one_that_did_would_be_seen.<locals>.slow"}
