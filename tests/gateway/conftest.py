"""A gateway on a loopback port: real routes, real engine client, stub engine, fake parts."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import openai
import pytest
import uvicorn

from serving.engine.client import EngineClient
from serving.gateway.app import create_app
from serving.gateway.ports import Rates as RatesPort
from serving.gateway.refusal import Refusal
from tests.gateway.fake_rates import Rates
from tests.gateway.fakes import Files, Ledger, Limiter, Search, runtime
from tests.signing import signer_for_tests
from tests.stub_engine import StubEngine


@dataclass
class Platform:
    url: str = ""
    engine: StubEngine = field(default_factory=StubEngine)
    search: Search = field(default_factory=Search)
    limiter: Limiter = field(default_factory=Limiter)
    ledger: Ledger = field(default_factory=Ledger)
    rates: RatesPort = field(default_factory=Rates)
    spool: Path = Path()

    def client(self, key: str) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)


@pytest.fixture
async def platform() -> AsyncGenerator[Platform, None]:
    async with serving_platform(demo=False) as platform:
        yield platform


@asynccontextmanager
async def serving_platform(
    *, demo: bool, refusal: Refusal | None = None, rates: RatesPort | None = None
) -> AsyncGenerator[Platform, None]:
    """demo: whether the chat page has demo merchants to offer."""
    platform = Platform() if rates is None else Platform(rates=rates)
    with tempfile.TemporaryDirectory() as folder:
        platform.spool = Path(folder)
        async with _served(platform, Files(platform.spool), demo, refusal):
            yield platform


@asynccontextmanager
async def _served(
    platform: Platform, files: Files, demo: bool, refusal: Refusal | None
) -> AsyncGenerator[None, None]:
    async with platform.engine.serving() as engine_url:
        engine = EngineClient(engine_url, model="m", api_key="k", signer=signer_for_tests())
        parts = runtime(
            engine,
            search=platform.search,
            limiter=platform.limiter,
            ledger=platform.ledger,
            files=files,
            demo=demo,
            refusal=refusal,
            rates=platform.rates,
        )
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            create_app(parts),
            log_level="warning",
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        platform.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        while not server.started:
            await asyncio.sleep(0.01)
        yield
        platform.engine.endless = False
        server.should_exit = True
        await serving
        await engine.close()
        files.parsers.close()
        listener.close()
