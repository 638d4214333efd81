"""One real SGLang worker for all tests that need one, with a two-layer random model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from isolation.testing.contexts import tenant_for_tests
from serving.cli.engine import Model, prepared, worker_of
from serving.engine.client import EngineClient
from serving.engine.local import LocalEngine
from serving.settings import Settings
from tests.signing import signer_for_tests


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """Made once, in the user's cache; the engine's environment too."""
    return prepared(Settings(), Model.tiny)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def local_engine(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[LocalEngine, None]:
    folder = tmp_path_factory.mktemp("engine")
    worker = worker_of(Settings(), tiny_model)
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
