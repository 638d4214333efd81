"""A registry and residency before a real engine, as the bench of adapters asks them."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from evals.adapter_files import Files
from evals.performance.engine_side import running_engine
from isolation.context import OperatorContext, TenantContext
from isolation.namespaces import CacheScope, NamespaceDeriver
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.adapters.checks import Upload
from serving.adapters.engine_names import EngineNames
from serving.adapters.eviction import Places
from serving.adapters.leases import AdapterLeases
from serving.adapters.models import AdapterModels
from serving.adapters.residency import Residency, ResidencyParts
from serving.control.database import Database
from serving.control.tenants import TenantRegistry
from serving.embedded.adapters import AdapterStore, open_adapters, open_tenant_keys
from serving.engine.client import EngineClient, Job
from serving.engine.launch import Lora, Worker
from serving.engine.lora import SglangLora
from serving.engine.proof import ProofSigner
from serving.metering.metrics import Metrics
from serving.settings import Settings

_WAIT_SECONDS = 120.0
_SCOPE = CacheScope("bench", "", adapter="", version="1")


@dataclass(frozen=True, slots=True)
class Timed:
    """One answer. Seconds: to its first token, and to its end."""

    first: float
    whole: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Owned:
    """A version and whose it is."""

    ctx: TenantContext
    model: str


@dataclass(frozen=True, slots=True)
class Side:
    """One engine, and the adapters before it. models: None for the base model alone."""

    client: EngineClient
    models: AdapterModels | None = None
    metrics: Metrics | None = None

    async def ask(self, who: Owned, words: int, tokens: int) -> Timed:
        """A generation of exactly so many tokens, on a prompt that nobody has sent."""
        begun = time.perf_counter()
        if who.model == "base" or self.models is None:
            return await self._generated(who, "", words, tokens, begun)
        own = self.models.of(who.ctx)
        record = await own.resolve(who.model)
        deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
        async with own.lease(record, deadline) as lease:
            return await self._generated(who, lease.engine_name, words, tokens, begun)

    async def _generated(
        self, who: Owned, adapter: str, words: int, tokens: int, begun: float
    ) -> Timed:
        namespace = _NAMESPACES.derive(who.ctx, replace(_SCOPE, adapter=adapter))
        text = " ".join(secrets.token_hex(2) for _ in range(words))
        messages = [{"role": "user", "content": text}]
        sampling = {"temperature": 0, "ignore_eos": True}
        job = Job(secrets.token_hex(16), messages, tokens, sampling, adapter)
        first = None
        async for delta in self.client.of(who.ctx, namespace).stream(job):
            if first is None and (delta.text or delta.finish_reason):
                first = time.perf_counter() - begun
        whole = time.perf_counter() - begun
        return Timed(whole if first is None else first, whole, tokens)

    def loads(self) -> int:
        """How many there were until now."""
        if self.metrics is None:
            return 0
        (family,) = self.metrics.adapter_loads.collect()
        totals = [s.value for s in family.samples if s.name.endswith("_total")]
        return round(sum(totals))


_NAMESPACES = NamespaceDeriver(secrets.token_bytes(32))


@asynccontextmanager
async def engine(worker: Worker, lora: Lora | None) -> AsyncGenerator[EngineClient, None]:
    """An engine with room for adapters, or without."""
    signer = ProofSigner(secrets.token_bytes(32), secrets.token_bytes(32))
    with tempfile.TemporaryDirectory() as folder:
        started = running_engine(replace(worker, lora=lora, port=0), Path(folder), signer)
        async with started as launched:
            client = EngineClient(
                launched.url, model="base", api_key=launched.api_key, signer=signer
            )
            await client.identify()
            try:
                yield client
            finally:
                await client.close()


@dataclass(frozen=True, slots=True)
class Shelf:
    """What is registered, over a real database and a folder."""

    settings: Settings
    operator: OperatorContext
    store: AdapterStore
    tenants: TenantRegistry

    async def tenant(self, name: str, tier: str = "business") -> TenantContext:
        """Add one."""
        ctx = tenant_for_tests(name, tier=tier)
        await self.tenants.add(self.operator, ctx.tenant_id, tier)
        return ctx

    async def add(self, ctx: TenantContext, name: str, files: Files) -> Owned:
        """Register a version."""
        with tempfile.TemporaryDirectory() as folder:
            for file, data in files.items():
                (Path(folder) / file).write_bytes(data)
            record = await self.store.registry.of(ctx).add(Upload(Path(folder), name, {}))
        return Owned(ctx, f"{name}@{record.version}")

    @asynccontextmanager
    async def side(self, client: EngineClient, places: Places) -> AsyncGenerator[Side, None]:
        """These adapters on an engine, in these places; nothing is loaded at first."""
        assert self.store.memory is not None
        metrics, registry = Metrics(), self.store.registry
        residency = Residency(
            ResidencyParts(
                engine=SglangLora(self.operator, lambda: client),
                registry=registry,
                memory=self.store.memory,
                names=EngineNames(secrets.token_bytes(32)),
                sink=self.store.ledger,
                metrics=metrics,
                places=places,
            )
        )
        residency.start()
        try:
            yield Side(client, AdapterModels(registry, AdapterLeases(residency)), metrics)
        finally:
            await residency.close()


@asynccontextmanager
async def shelf(model: Path, versions: int) -> AsyncGenerator[Shelf, None]:
    """An empty one, of at most so many versions for each tenant; gone afterwards."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = Settings(
            data_dir=folder / "data",
            model_path=model,
            adapters="on",
            adapter_url=None,
            database_url=None,
            engine_urls=[],
            adapter_max_versions=versions,
        )
        operator = operator_for_tests()
        database = await Database.open(f"sqlite+aiosqlite:///{folder}/data/bulkhead.db")
        stack.push_async_callback(database.close)
        keys = await open_tenant_keys(settings, database, operator)
        store = await open_adapters(settings, database, keys, operator, stack)
        yield Shelf(settings, operator, store, TenantRegistry(database))
