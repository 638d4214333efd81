"""Real SGLang workers with a two-layer random model: one for all tests, and a changed one.

Each takes a minute to start.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from evals.performance.engine_side import running_engine
from isolation.testing.contexts import tenant_for_tests
from serving.cli.engine import Model, prepared, worker_of
from serving.engine.client import EngineClient
from serving.engine.launch import Lora
from serving.engine.local import LocalEngine
from serving.settings import Settings
from serving.supervision.process import Command
from tests.signing import signer_for_tests
from tests.zygote.environment import real_engine


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """Made once, in the user's cache; the engine's environment too."""
    return prepared(Settings(), Model.tiny)


# SGLang takes more parameters from headers than it does by default.
HEARS_HEADERS = {"SGLANG_ENABLE_REQUEST_HEADER_OVERRIDES": "1"}
# How many adapters the worker holds: few, so that tests with more change them.
ROOM = 2


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def local_engine(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[LocalEngine, None]:
    folder = tmp_path_factory.mktemp("engine")
    lora = Lora(rank=16, batch=ROOM, loaded=ROOM)
    worker = replace(worker_of(Settings(), tiny_model), engine=real_engine(), lora=lora)
    probe_tenant = tenant_for_tests("platform-probe")
    engine = LocalEngine(
        worker, "base", folder, probe_tenant, signer=signer_for_tests(), on_refused=pytest.fail
    )
    engine.start()
    async with asyncio.timeout(400):
        await engine.until_ready()
    yield engine
    await engine.close()


@pytest.fixture
def engine(local_engine: LocalEngine) -> EngineClient:
    return local_engine.client()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def changed_engine(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[EngineClient, None]:
    """A worker that retracts running requests every few steps, leaves what an adapter left in its
    slot, takes parameters from headers, and does not report cached tokens. Its pool is so small
    that half of it, which may be reserved, is less than a context."""
    folder, signer = tmp_path_factory.mktemp("changed-engine"), signer_for_tests()
    lora = Lora(rank=16, batch=ROOM, loaded=ROOM)
    worker = replace(
        worker_of(Settings(), tiny_model),
        lora=lora,
        scrub_adapters=False,
        arguments=("--max-total-tokens", "8192"),
    )
    async with running_engine(worker, folder, signer, _changed) as launched:
        client = EngineClient(launched.url, model="base", api_key=launched.api_key, signer=signer)
        await client.identify()
        yield client
        await client.close()


def _changed(command: Command) -> Command:
    """Without a flag of the launcher's, and with switches of SGLang's own."""
    config = Path(command.argv[-1])
    said = json.loads(config.read_text())
    said["arguments"].remove("--enable-cache-report")
    config.write_text(json.dumps(said))
    return Command(command.argv, {**command.env, "SGLANG_TEST_RETRACT": "1", **HEARS_HEADERS})
