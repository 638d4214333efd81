"""The gateway refuses an engine without the properties that isolation relies on."""

from __future__ import annotations

import pytest

from isolation.testing.contexts import tenant_for_tests
from serving.engine.client import EngineClient
from serving.engine.probe import probe
from serving.errors import EngineRefusedError, EngineUnavailableError
from tests.signing import signer_for_tests
from tests.stub_engine import StubEngine


async def _probe(stub: StubEngine) -> None:
    async with stub.serving() as url:
        engine = EngineClient(url, model="m", api_key="k", signer=signer_for_tests())
        try:
            await probe(engine, tenant_for_tests("probe"))
        finally:
            await engine.close()


async def test_an_engine_with_all_properties_is_accepted() -> None:
    await _probe(StubEngine())


async def test_an_engine_that_ignores_the_salt_is_refused() -> None:
    with pytest.raises(EngineRefusedError, match="across namespaces"):
        await _probe(StubEngine(salted=False))


async def test_an_engine_that_reports_no_hits_is_refused_since_nothing_is_proven() -> None:
    with pytest.raises(EngineRefusedError, match="does not report"):
        await _probe(StubEngine(reports=False))


async def test_an_engine_without_the_plugin_is_refused() -> None:
    with pytest.raises(EngineRefusedError, match="plugin"):
        await _probe(StubEngine(attests=False))


async def test_an_engine_that_does_not_answer_is_unavailable() -> None:
    engine = EngineClient("http://127.0.0.1:9", model="m", api_key=None, signer=signer_for_tests())
    try:
        with pytest.raises(EngineUnavailableError):
            await probe(engine, tenant_for_tests("probe"))
        assert not await engine.alive()
    finally:
        await engine.close()
