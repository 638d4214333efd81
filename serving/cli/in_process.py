"""The platform inside a command's own process, for when no gateway runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from serving.cli.engine import prepared, worker_of
from serving.cli.output import fail, note
from serving.embedded.core import Core, open_core, runtime_without_engine
from serving.embedded.gateway import open_gateway
from serving.gateway.app import create_app
from serving.gateway.runtime import Runtime
from serving.logs import log_to
from serving.settings import Settings


@asynccontextmanager
async def in_process_app(settings: Settings, *, with_engine: bool) -> AsyncGenerator[ASGIApp, None]:
    """The gateway's application; with an engine, once that is ready."""
    log_to(settings.data_dir / "logs" / "command.log")
    async with open_core(settings) as core, _runtime(core, with_engine) as runtime:
        yield create_app(runtime)


@asynccontextmanager
async def _runtime(core: Core, with_engine: bool) -> AsyncGenerator[Runtime, None]:
    if not with_engine:
        yield runtime_without_engine(core)
        return
    note("no gateway runs here: starting an engine for this one command")
    settings = core.settings
    worker = None
    if not settings.engine_urls:
        worker = worker_of(settings, await asyncio.to_thread(prepared, settings))
    async with open_gateway(core, worker=worker, on_refused=fail) as runtime:
        while not runtime.readiness().ready:  # noqa: ASYNC110 - it can only be asked
            await asyncio.sleep(0.1)
        yield runtime
