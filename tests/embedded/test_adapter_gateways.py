"""Two gateways as they are wired, on one database, one store and one engine that runs elsewhere."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from isolation.context import TenantContext
from isolation.namespaces import CacheScope, NamespaceDeriver
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.adapters.errors import AdapterUnavailableError
from serving.adapters.models import AdapterModels
from serving.adapters.names import Reference
from serving.adapters.registry import AdapterRegistry
from serving.control.database import Database
from serving.control.tenants import TenantRegistry
from serving.embedded.adapters import open_adapters, open_models, open_tenant_keys
from serving.embedded.beside import grace_of
from serving.engine.client import EngineClient, Job
from serving.key_files import gateway_id
from serving.metering.metrics import Metrics
from serving.settings import Settings
from tests.adapters.files import write
from tests.signing import signer_for_tests
from tests.stub_engine import StubEngine

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


@dataclass
class Gateway:
    client: EngineClient
    registry: AdapterRegistry
    models: AdapterModels

    async def answer(self, ctx: TenantContext, begun: asyncio.Event) -> None:
        """An answer of the engine's, which never ends by itself."""
        own = self.models.of(ctx)
        deadline = asyncio.get_running_loop().time() + 10
        async with own.lease(await own.resolve("support"), deadline) as lease:
            scope = CacheScope("m", "t", lease.engine_name, "1")
            engine = self.client.of(ctx, NamespaceDeriver(b"k" * 32).derive(ctx, scope))
            turns = [{"role": "user", "content": "How long may I return?"}]
            job = Job(secrets.token_hex(16), turns, 10_000, {}, lease.engine_name)
            async with aclosing(lease.guarded(engine.stream(job))) as deltas:
                async for _ in deltas:
                    begun.set()

    async def begin(self, ctx: TenantContext) -> asyncio.Task[None]:
        begun = asyncio.Event()
        task = asyncio.create_task(self.answer(ctx, begun))
        async with asyncio.timeout(10):
            await begun.wait()
        return task


def _settings(tmp_path: Path, model: Path, url: str, number: int) -> Settings:
    return Settings(
        data_dir=tmp_path / f"data-{number}",
        database_url=f"sqlite+aiosqlite:///{tmp_path}/shared/bulkhead.db",
        adapter_url=str(tmp_path / "store"),
        master_key=SecretStr("m" * 40),
        engine_urls=[url],
        model_path=model,
    )


@asynccontextmanager
async def _gateway(settings: Settings) -> AsyncGenerator[Gateway, None]:
    assert settings.database_url is not None
    async with AsyncExitStack() as stack:
        database = await Database.open(settings.database_url)
        stack.push_async_callback(database.close)
        for ctx in (FJELLVIK, VOLTBAY):
            if not await TenantRegistry(database).has(OPERATOR, ctx.tenant_id):
                await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
        keys = await open_tenant_keys(settings, database, OPERATOR)
        store = await open_adapters(settings, database, keys, OPERATOR, stack)
        url = settings.engine_urls[0]
        client = EngineClient(url, model="m", api_key="k", signer=signer_for_tests())
        stack.push_async_callback(client.close)
        await client.identify()
        opened = open_models(settings, store, OPERATOR, lambda: client, Metrics())
        models = await stack.enter_async_context(opened)
        assert models is not None
        yield Gateway(client, store.registry, models)


async def test_a_revocation_reaches_the_other_gateways_engine_and_nothing_else_leaves_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    engine = StubEngine()
    engine.endless = True
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(engine.serving())
        here, there = [
            await stack.enter_async_context(_gateway(_settings(tmp_path, tiny_model, url, number)))
            for number in (1, 2)
        ]
        for ctx in (FJELLVIK, VOLTBAY):
            await here.registry.of(ctx).add(write(tmp_path / f"upload-{ctx.tenant_id}"))
        stays = await here.begin(VOLTBAY)
        ends = await there.begin(FJELLVIK)
        assert len(engine.adapters) == 2
        await here.registry.revoke(OPERATOR, FJELLVIK.tenant_id, Reference("support"))
        with pytest.raises(AdapterUnavailableError):
            await asyncio.wait_for(ends, 1.5)
        await asyncio.wait_for(engine.ended_early.wait(), 1)
        async with asyncio.timeout(2):
            while len(engine.adapters) > 1:
                await asyncio.sleep(0.02)
        assert not stays.done()
        stays.cancel()
        await asyncio.wait({stays})


def test_a_gateways_id_is_its_data_folders(tmp_path: Path) -> None:
    one, other = Settings(data_dir=tmp_path / "one"), Settings(data_dir=tmp_path / "other")
    assert gateway_id(one) == gateway_id(one) != gateway_id(other)


def test_there_is_no_grace_unless_the_operator_gives_one() -> None:
    assert grace_of(Settings(adapter_grace_seconds=20)) == 0
    assert grace_of(Settings(adapter_revocation="finish", adapter_grace_seconds=20)) == 20
