"""The gateway refuses an engine without the properties that isolation relies on."""

from __future__ import annotations

import pytest

from isolation.testing.contexts import tenant_for_tests
from serving.engine.client import EngineClient
from serving.engine.probe import ATTESTATION_PROTOCOL, probe
from serving.engine_plugin.attestation import PROTOCOL
from serving.engine_plugin.places import HOOKED
from serving.errors import EngineRefusedError, EngineUnavailableError
from tests.signing import signer_for_tests
from tests.stub_engine import StubEngine


async def _probe(stub: StubEngine, *, adapters: bool = True) -> None:
    async with stub.serving() as url:
        engine = EngineClient(url, model="m", api_key="k", signer=signer_for_tests())
        try:
            await probe(engine, tenant_for_tests("probe"), adapters=adapters)
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


@pytest.mark.parametrize("name", ["radix_cache", "budgets", "priority", "lora"])
async def test_an_engine_that_attests_a_property_as_off_is_refused(name: str) -> None:
    for value in (False, None):
        stub = StubEngine()
        stub.attested[name] = value
        with pytest.raises(EngineRefusedError, match=f"'{name}' off"):
            await _probe(stub)


async def test_an_engine_without_adapters_serves_a_platform_without_them() -> None:
    stub = StubEngine()
    stub.attested["lora"] = False
    await _probe(stub, adapters=False)


@pytest.mark.parametrize("place", sorted(HOOKED))
async def test_an_engine_that_left_out_any_hook_is_refused(place: str) -> None:
    stub = StubEngine()
    stub.attested["hooks"] = [*(HOOKED - {place}), "sglang.srt.something.more"]
    with pytest.raises(EngineRefusedError) as refused:
        await _probe(stub)
    assert place in refused.value.message


@pytest.mark.parametrize("hooks", [[], None, "all", {"all": True}])
async def test_an_engine_that_names_no_hooks_is_refused(hooks: object) -> None:
    stub = StubEngine()
    stub.attested["hooks"] = hooks
    with pytest.raises(EngineRefusedError, match="without a hook"):
        await _probe(stub)


@pytest.mark.parametrize("protocol", [PROTOCOL - 1, PROTOCOL + 1, None, str(PROTOCOL)])
async def test_a_plugin_of_another_version_is_refused(protocol: object) -> None:
    assert ATTESTATION_PROTOCOL == PROTOCOL
    stub = StubEngine()
    stub.attested["protocol"] = protocol
    with pytest.raises(EngineRefusedError, match="another version"):
        await _probe(stub)


@pytest.mark.engine
@pytest.mark.asyncio(loop_scope="session")
async def test_sglang_without_its_cache_report_is_refused(changed_engine: EngineClient) -> None:
    """Its plugin attests all the same: only the hits show it, and it shows none."""
    (state,) = (await changed_engine.server_info())["internal_states"]
    assert state["bulkhead"]["radix_cache"]
    with pytest.raises(EngineRefusedError, match="does not report"):
        await probe(changed_engine, tenant_for_tests("probe"), adapters=True)


async def test_an_engine_that_does_not_answer_is_unavailable() -> None:
    engine = EngineClient("http://127.0.0.1:9", model="m", api_key=None, signer=signer_for_tests())
    try:
        with pytest.raises(EngineUnavailableError):
            await probe(engine, tenant_for_tests("probe"))
        assert not await engine.alive()
    finally:
        await engine.close()
