"""Gateways on one database, each with its own registry, residents and streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from isolation.context import TenantContext
from serving.adapters.engine_names import EngineNames
from serving.adapters.errors import AdapterUnavailableError
from serving.adapters.eviction import Places
from serving.adapters.leases import AdapterLeases
from serving.adapters.memory import PrivateMemory
from serving.adapters.neighbours import Shared
from serving.adapters.ports import AdapterRecord
from serving.adapters.residency import Residency, ResidencyParts
from serving.adapters.revocations import RevocationFollower
from serving.control.database import Database
from serving.control.presence import GatewayPresence
from serving.control.residency import ResidencyLedger
from serving.metering.metrics import Metrics
from tests.adapters.conftest import OPERATOR, Shop, make_shop
from tests.adapters.fake_engine import FakeLoraEngine
from tests.memory import memory_root

# Long beside what a query takes on a busy machine.
PATIENCE = 2.0
EVERY = 0.05


@dataclass
class Stream:
    """An answer that never ends by itself. `words`: how many it has."""

    task: asyncio.Task[None]
    words: int = 0

    async def goes_on(self, seconds: float = 0.3) -> bool:
        before = self.words
        await asyncio.sleep(seconds)
        return not self.task.done() and self.words > before

    async def ended(self, seconds: float = 1.0) -> bool:
        """Whether it was ended within so many seconds, as a revocation ends it."""
        await asyncio.wait({self.task}, timeout=seconds)
        return self.task.done() and isinstance(self.task.exception(), AdapterUnavailableError)


@dataclass
class Gateway:
    database: Database
    shop: Shop
    engine: FakeLoraEngine
    residency: Residency
    presence: GatewayPresence
    streams: list[Stream]

    async def stream(self, ctx: TenantContext, record: AdapterRecord) -> Stream:
        """Begin one and return behind its first word."""
        begun = asyncio.Event()

        async def words() -> AsyncGenerator[str, None]:
            while True:
                yield "word"
                await asyncio.sleep(0.01)

        async def answer() -> None:
            deadline = asyncio.get_running_loop().time() + 5
            async with AdapterLeases(self.residency).of(ctx).lease(record, deadline) as lease:
                async for _ in lease.guarded(words()):
                    stream.words += 1
                    begun.set()

        stream = Stream(asyncio.create_task(answer()))
        self.streams.append(stream)
        first = asyncio.create_task(begun.wait())
        await asyncio.wait({first, stream.task}, return_when=asyncio.FIRST_COMPLETED)
        if stream.task.done():
            first.cancel()
            stream.task.result()
        return stream

    def resident(self, record: AdapterRecord) -> bool:
        return any(r.record.upload == record.upload for r in self.residency.held())

    async def left(self, record: AdapterRecord, seconds: float = 2.0) -> bool:
        """Whether it leaves the engine within so many seconds."""
        for _ in range(round(seconds / 0.02)):
            if not self.resident(record):
                return True
            await asyncio.sleep(0.02)
        return False


@asynccontextmanager
async def gateway(
    url: str,
    folder: Path,
    number: int,
    *,
    engine: FakeLoraEngine | None = None,
    follows: bool = True,
    shares: bool = True,
    grace: float = 0.0,
) -> AsyncGenerator[Gateway, None]:
    """engine: one that others load into as well. follows, shares: False makes a leaky one."""
    database = await Database.open(url)
    own = folder / f"gateway-{number}"
    own.mkdir(exist_ok=True)
    shop = make_shop(database, str(folder / "store"), own)
    memory = PrivateMemory.open(memory_root(own))
    names = EngineNames(b"n" * 32, f"gateway {number}")
    presence = GatewayPresence(database, names.owner)
    await presence.beat()
    fake = engine if engine is not None else FakeLoraEngine()
    parts = ResidencyParts(
        fake,
        shop.registry,
        memory,
        names,
        ResidencyLedger(database),
        Metrics(),
        Places(4, 0.0),
        Shared(names, presence) if shares else None,
        grace,
    )
    residency = Residency(parts)
    follower = RevocationFollower(
        OPERATOR, shop.parts.index, residency, patience=PATIENCE, every=EVERY
    )
    if follows:
        follower.start()
    streams: list[Stream] = []
    try:
        yield Gateway(database, shop, fake, residency, presence, streams)
    finally:
        if follows:
            await follower.close()
        for stream in streams:
            stream.task.cancel()
        if streams:
            await asyncio.wait({stream.task for stream in streams})
        await residency.close()
        memory.close()
        await database.close()
