"""More adapters in use than places: who waits, for how long, and what it costs the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from unittest.mock import patch

import pytest

from isolation.context import TenantContext
from isolation.testing.contexts import tenant_for_tests
from serving.adapters.errors import AdapterUnavailableError
from serving.adapters.eviction import Places
from serving.adapters.pace import LoadPace
from serving.adapters.ports import AdapterRecord
from serving.adapters.residency import Residency
from serving.control.tenants import TenantRegistry
from serving.errors import EngineUnavailableError
from tests.adapters.conftest import FJELLVIK, OPERATOR, VOLTBAY, Shop
from tests.adapters.rig import Engine, running

# A turn of a tenth of a second, however fast the load was; nobody leaves before its end.
TURNS = Places(capacity=1, minimum_seconds=0.1, stay=1e6, patience=1e6, loading=1.0)


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def places() -> Places:
    return TURNS


@pytest.fixture
async def engine(shop: Shop, places: Places, tmp_path: Path) -> AsyncGenerator[Engine, None]:
    async with running(shop, places, tmp_path) as engine:
        yield engine


async def _busy(engine: Engine, ctx: TenantContext, record: AdapterRecord) -> None:
    """Requests that overlap, so that the adapter is never idle."""

    async def client() -> None:
        while True:
            with suppress(AdapterUnavailableError):
                async with engine.hold(ctx, record):
                    await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as clients:
        for _ in range(3):
            clients.create_task(client())
            await asyncio.sleep(0.007)


async def _third(shop: Shop) -> TenantContext:
    third = tenant_for_tests("third-shop")
    await TenantRegistry(shop.database).add(OPERATOR, third.tenant_id, "business")
    return third


class TestABusyAdapter:
    async def test_gives_its_place_after_its_turn(self, engine: Engine) -> None:
        busy, waiting = await engine.shop.add(FJELLVIK), await engine.shop.add(VOLTBAY)
        others = asyncio.create_task(_busy(engine, FJELLVIK, busy))
        await asyncio.sleep(0.05)
        await engine.use(VOLTBAY, waiting, seconds=1)
        # And those who came for the closed one meanwhile have theirs afterwards.
        await engine.use(FJELLVIK, busy, seconds=1)
        others.cancel()

    async def test_that_is_not_closed_is_caught(self, engine: Engine) -> None:
        """The twin: who waits has a place only when nobody uses the other."""
        busy, waiting = await engine.shop.add(FJELLVIK), await engine.shop.add(VOLTBAY)
        with patch.object(Residency, "close_one", lambda *_: None):
            others = asyncio.create_task(_busy(engine, FJELLVIK, busy))
            await asyncio.sleep(0.05)
            with pytest.raises(AdapterUnavailableError):
                await engine.use(VOLTBAY, waiting, seconds=1)
            others.cancel()


async def test_who_waits_is_served_in_order_and_one_load_serves_all_of_an_adapter(
    engine: Engine, shop: Shop
) -> None:
    third = await _third(shop)
    held, second, last = [await shop.add(ctx) for ctx in (FJELLVIK, VOLTBAY, third)]
    served: list[str] = []

    async def use(ctx: TenantContext, record: AdapterRecord) -> None:
        async with engine.hold(ctx, record):
            served.append(record.tenant)
            await asyncio.sleep(0)

    async with engine.hold(FJELLVIK, held):
        waiting = []
        for ctx, record in ((VOLTBAY, second), (third, last), (VOLTBAY, second)):
            waiting.append(asyncio.create_task(use(ctx, record)))
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert served == []
    await asyncio.gather(*waiting)
    assert served == [VOLTBAY.tenant_id, VOLTBAY.tenant_id, third.tenant_id]
    assert engine.fake.loads == 3


class TestPatience:
    @pytest.fixture
    def places(self) -> Places:
        return Places(capacity=1, minimum_seconds=60.0, stay=1e6, patience=0.0, loading=1.0)

    async def test_who_is_not_used_leaves_before_its_turn_ends(self, engine: Engine) -> None:
        for ctx in (FJELLVIK, VOLTBAY):
            await engine.use(ctx, await engine.shop.add(ctx), seconds=1)
        assert engine.fake.loads == 2

    async def test_who_is_used_does_not(self, engine: Engine) -> None:
        mine, theirs = await engine.shop.add(FJELLVIK), await engine.shop.add(VOLTBAY)
        async with engine.hold(FJELLVIK, mine):
            with pytest.raises(AdapterUnavailableError):
                await engine.use(VOLTBAY, theirs, seconds=0.2)
            assert engine.resident(mine)


async def _alternating(engine: Engine, seconds: float) -> None:
    records = {ctx: await engine.shop.add(ctx) for ctx in (FJELLVIK, VOLTBAY)}
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        for ctx, record in records.items():
            await engine.use(ctx, record)


class TestLoading:
    @pytest.fixture
    def places(self) -> Places:
        return Places(capacity=1, minimum_seconds=0.0, loading=0.02)

    async def test_takes_a_share_of_the_time_and_thrash_is_counted(
        self, engine: Engine, shop: Shop, tmp_path: Path
    ) -> None:
        await _alternating(engine, 0.5)
        assert engine.metrics.adapter_thrash._value.get() > 0
        free = Places(capacity=1, minimum_seconds=0.0, loading=1.0)
        (tmp_path / "twin").mkdir()
        async with running(shop, free, tmp_path / "twin") as twin:
            await _alternating(twin, 0.5)
            assert twin.metrics.adapter_thrash._value.get() == 0
            # The control: what it would be without.
            assert twin.fake.loads > 2 * engine.fake.loads


def test_the_pace_is_that_of_the_shortest_load_seen() -> None:
    """A load that waited for the engine did not stop it for all that time."""
    pace = LoadPace(0.25)
    assert pace.held_until(0.0) is None
    pace.began()
    assert pace.held_until(0.1) == float("inf")
    pace.ended(2.0, 1.0)
    assert (pace.held_until(2.0), pace.held_until(5.0)) == (5.0, None)
    pace.began()
    pace.ended(6.0, 4.0)
    assert pace.held_until(6.0) == 9.0


async def test_who_cannot_have_a_place_in_time_is_told_at_once(engine: Engine) -> None:
    mine = await engine.shop.add(FJELLVIK)
    many = [await engine.shop.add(VOLTBAY, f"a{number}") for number in range(5)]
    async with AsyncExitStack() as held:
        await held.enter_async_context(engine.hold(FJELLVIK, mine))
        waiting = [asyncio.create_task(engine.use(VOLTBAY, each, 5)) for each in many[:-1]]
        await asyncio.sleep(0.01)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(AdapterUnavailableError, match="Too many"):
            await engine.use(VOLTBAY, many[-1], seconds=0.3)
        assert loop.time() - begun < 0.2
    await asyncio.gather(*waiting)


async def test_who_waits_is_told_when_the_engine_is_gone(engine: Engine) -> None:
    mine, theirs = await engine.shop.add(FJELLVIK), await engine.shop.add(VOLTBAY)
    async with engine.hold(FJELLVIK, mine):
        waiting = asyncio.create_task(engine.use(VOLTBAY, theirs))
        await asyncio.sleep(0.01)
        with patch.object(type(engine.fake), "incarnation", property(_gone), create=True):
            engine.residency._notify()
            with pytest.raises(EngineUnavailableError):
                await waiting


def _gone(_: object) -> str:
    raise EngineUnavailableError


async def test_who_gives_up_leaves_the_line(engine: Engine) -> None:
    mine, theirs = await engine.shop.add(FJELLVIK), await engine.shop.add(VOLTBAY)
    async with engine.hold(FJELLVIK, mine):
        waiting = asyncio.create_task(engine.use(VOLTBAY, theirs))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
    await asyncio.sleep(0.15)
    # Nothing was loaded for nobody, and the place is free for the next.
    assert engine.fake.loads == 1
    await engine.use(VOLTBAY, theirs, seconds=1)
