"""A residency over a real registry and a stand-in for the engine's LoRA routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isolation.context import TenantContext
from serving.adapters.engine_names import EngineNames
from serving.adapters.eviction import Places
from serving.adapters.leases import AdapterLeases, Lease
from serving.adapters.memory import PrivateMemory
from serving.adapters.ports import AdapterRecord
from serving.adapters.residency import Residency, ResidencyParts
from serving.metering.metrics import Metrics
from serving.metering.residency import ResidencyRecord
from tests.adapters.conftest import Shop
from tests.adapters.fake_engine import FakeLoraEngine
from tests.memory import memory_root


@dataclass
class Bill:
    """Who paid for what."""

    records: list[tuple[str, ResidencyRecord]] = field(default_factory=list)

    def of(self, ctx: TenantContext) -> TenantBill:
        return TenantBill(self, ctx.tenant_id)


@dataclass
class TenantBill:
    bill: Bill
    tenant: str

    async def record(self, record: ResidencyRecord) -> None:
        self.bill.records.append((self.tenant, record))


@dataclass
class Engine:
    shop: Shop
    fake: FakeLoraEngine
    bill: Bill
    memory: Path
    residency: Residency
    metrics: Metrics

    @property
    def leases(self) -> AdapterLeases:
        return AdapterLeases(self.residency)

    async def use(self, ctx: TenantContext, record: AdapterRecord, seconds: float = 5) -> str:
        """A request: loads if need be; which name served it."""
        deadline = asyncio.get_running_loop().time() + seconds
        async with self.leases.of(ctx).lease(record, deadline) as lease:
            return lease.engine_name

    def hold(
        self, ctx: TenantContext, record: AdapterRecord, seconds: float = 5
    ) -> AbstractAsyncContextManager[Lease]:
        return self.leases.of(ctx).lease(record, asyncio.get_running_loop().time() + seconds)

    def resident(self, record: AdapterRecord) -> bool:
        return any(
            r.record == record and not r.ending and r.loaded_at is not None
            for r in self.residency._all.values()
        )

    def counted(self, kind: str) -> float:
        return self.metrics.adapter_loads.labels(kind)._value.get()


@asynccontextmanager
async def running(shop: Shop, places: Places, folder: Path) -> AsyncGenerator[Engine, None]:
    """Until the block ends."""
    fake, bill, metrics = FakeLoraEngine(), Bill(), Metrics()
    root = memory_root(folder)
    memory = PrivateMemory.open(root)
    names = EngineNames(b"n" * 32)
    parts = ResidencyParts(fake, shop.registry, memory, names, bill, metrics, places)
    residency = Residency(parts)
    try:
        yield Engine(shop, fake, bill, root, residency, metrics)
    finally:
        fake.slowly.set()
        await residency.close()
        memory.close()
