"""`bulkhead serve`: the chat backend with everything that the settings do not place elsewhere."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from socket import socket
from typing import Annotated

import typer
import uvloop

from serving.cli.engine import prepared, worker_of
from serving.cli.output import fail, note, out
from serving.data_folder import gateway_socket
from serving.embedded.core import Core, open_core
from serving.embedded.demo import ingest_demo, write_demo_file
from serving.embedded.demo_adapters import add_demo_adapters
from serving.embedded.gateway import open_gateway
from serving.embedded.server import Server, listen, listen_unix
from serving.engine.launch import Worker
from serving.gateway.app import create_app
from serving.gateway.runtime import DemoTenant, Runtime
from serving.key_files import admin_key
from serving.logs import log_to
from serving.settings import Settings, load_settings

_REPORT_SECONDS = 10.0


def command(
    demo: Annotated[
        Path | None, typer.Option(help="A folder of merchants to ingest, as in examples/merchants.")
    ] = None,
) -> None:
    """Serve until interrupted. Settings come from BULKHEAD_* and bulkhead.yaml."""
    settings = load_settings()
    if demo is not None:
        settings = settings.model_copy(update={"demo": demo})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        # First: a port that is taken is known before anything is downloaded.
        tcp = stack.enter_context(listen(settings.host, settings.port))
        core = await stack.enter_async_context(open_core(settings))
        log_to(settings.data_dir / "logs" / "gateway.log")
        unix = stack.enter_context(listen_unix(gateway_socket(settings.data_dir)))
        if core.knowledge.engine.shares_terms:
            note(
                "vectors: a word is still one dimension for all tenants; "
                f"'bulkhead reembed {settings.embedding}' makes it each tenant's own"
            )
        core.parsers.start()
        worker = await _worker(settings)
        note("gateway: loading the masking model; starting the engine")
        merchants: list[DemoTenant] = []
        runtime = await stack.enter_async_context(
            open_gateway(core, worker=worker, on_refused=fail, demo=lambda: merchants)
        )
        server = Server(create_app(runtime), [tcp, unix])
        serving = asyncio.create_task(server.run_here())
        stack.push_async_callback(_ended, server, serving)
        await _until_ready(core, runtime, merchants, _base_url(settings, tcp), serving)
        await serving


async def _worker(settings: Settings) -> Worker | None:
    if settings.engine_urls:
        return None
    return worker_of(settings, await asyncio.to_thread(prepared, settings))


async def _until_ready(
    core: Core,
    runtime: Runtime,
    merchants: list[DemoTenant],
    base_url: str,
    serving: asyncio.Task[None],
) -> None:
    """Ingests the demo, waits for the engine, and says what it does meanwhile."""
    settings = core.settings
    if settings.demo is not None:
        merchants += await ingest_demo(core, settings.demo, note)
        await add_demo_adapters(core, settings.demo, merchants, note)
        path = write_demo_file(core, base_url, admin_key(settings), merchants)
        note(f"demo: keys are in {path}")
    begun = reported = time.monotonic()
    while not runtime.readiness().ready and not serving.done():
        if time.monotonic() - reported >= _REPORT_SECONDS:
            reported = time.monotonic()
            note(f"gateway: {runtime.readiness().detail} ({reported - begun:.0f} s)")
        await asyncio.sleep(0.1)
    if not serving.done():
        out.print(f"ready: {base_url}  (stop with Ctrl-C)", markup=False)


async def _ended(server: Server, serving: asyncio.Task[None]) -> None:
    """However the block ends, nothing is served once the parts are being closed."""
    server.should_exit = True
    await asyncio.wait({serving})


def _base_url(settings: Settings, tcp: socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{tcp.getsockname()[1]}"
