"""Which adapters are in the engine, and how tenants share the room there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from isolation.context import TenantContext
from isolation.errors import CrossTenantError
from isolation.testing.contexts import tenant_for_tests
from serving.adapters.errors import AdapterNotFoundError, AdapterUnavailableError
from serving.adapters.eviction import Places
from serving.adapters.memory import PrivateMemory
from serving.adapters.names import Reference
from serving.adapters.ports import AdapterRecord
from serving.adapters.weights import WEIGHTS_FILE
from serving.control.tenants import TenantRegistry
from serving.errors import EngineUnavailableError, StartupError
from tests.adapters.conftest import FJELLVIK, OPERATOR, VOLTBAY, Shop
from tests.adapters.rig import Engine, running
from tests.memory import memory_root


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def places() -> Places:
    return Places(capacity=2, minimum_seconds=0.0, loading=1.0)


@pytest.fixture
async def engine(shop: Shop, places: Places, tmp_path: Path) -> AsyncGenerator[Engine, None]:
    async with running(shop, places, tmp_path) as engine:
        yield engine


async def test_each_request_is_served_by_its_own_tenants_weights(engine: Engine) -> None:
    for ctx, seed in ((FJELLVIK, 1), (VOLTBAY, 2)):
        record = await engine.shop.add(ctx, seed=seed)
        name = await engine.use(ctx, record)
        folder = engine.shop.placed()
        await engine.shop.registry.of(ctx).place(record, folder)
        assert engine.fake.weights[name] == (folder / WEIGHTS_FILE).read_bytes()
    assert len(set(engine.fake.weights.values())) == 2


async def test_anothers_adapter_is_never_leased(engine: Engine) -> None:
    mine = await engine.shop.add(FJELLVIK)
    with pytest.raises(CrossTenantError):
        await engine.use(VOLTBAY, mine)
    with pytest.raises(CrossTenantError):
        engine.leases.of(VOLTBAY).prefetch(mine)
    assert engine.fake.loads == 0


async def test_names_in_the_engine_are_opaque_and_new_at_every_load(engine: Engine) -> None:
    record = await engine.shop.add(FJELLVIK)
    first = await engine.use(FJELLVIK, record)
    assert await engine.use(FJELLVIK, record) == first
    engine.fake.restart()
    second = await engine.use(FJELLVIK, record)
    assert first != second
    for name in (first, second):
        assert len(name) == 64
        assert "support" not in name


async def test_requests_at_once_load_once(engine: Engine) -> None:
    record = await engine.shop.add(FJELLVIK)
    names = await asyncio.gather(*(engine.use(FJELLVIK, record) for _ in range(20)))
    assert len(set(names)) == engine.fake.loads == 1


async def test_plaintext_is_in_private_memory_and_gone_after_the_load(engine: Engine) -> None:
    engine.fake.slowly.clear()
    record = await engine.shop.add(FJELLVIK)
    using = asyncio.create_task(engine.use(FJELLVIK, record))
    while not engine.fake.folders:
        await asyncio.sleep(0.01)
    (folder,) = engine.fake.folders
    assert folder.is_relative_to(engine.memory)
    assert engine.fake.modes == [0o700]
    assert (folder / WEIGHTS_FILE).exists()
    engine.fake.slowly.set()
    await using
    assert list(engine.memory.iterdir()) == []


async def test_a_load_that_fails_leaves_no_plaintext_and_the_next_one_works(
    engine: Engine,
) -> None:
    record = await engine.shop.add(FJELLVIK)
    engine.fake.broken = True
    with pytest.raises(AdapterUnavailableError):
        await engine.use(FJELLVIK, record)
    assert list(engine.memory.iterdir()) == []
    engine.fake.broken = False
    assert await engine.use(FJELLVIK, record)


async def test_an_adapter_that_was_tampered_with_never_reaches_the_engine(engine: Engine) -> None:
    record, other = await engine.shop.add(FJELLVIK), await engine.shop.add(VOLTBAY)
    for path in (engine.shop.folder / "store" / record.folder).iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AdapterUnavailableError):
        await engine.use(FJELLVIK, record)
    assert engine.fake.loads == 0
    assert list(engine.memory.iterdir()) == []
    assert await engine.use(VOLTBAY, other)


def test_a_folder_on_a_disk_is_refused(cache: pytest.Cache) -> None:
    with pytest.raises(StartupError, match="not memory-backed"):
        PrivateMemory.open(cache.mkdir("disk") / "memory")


def test_what_a_killed_gateway_left_in_memory_is_removed_at_the_next_start(
    tmp_path: Path,
) -> None:
    root = memory_root(tmp_path)
    PrivateMemory.open(root)
    (root / "load").mkdir()
    (root / "load" / WEIGHTS_FILE).write_bytes(b"weights")
    PrivateMemory.open(root)
    assert list(root.iterdir()) == []
    root.chmod(0o755)
    with pytest.raises(StartupError, match="private"):
        PrivateMemory.open(root)
    root.rmdir()


async def test_the_least_recently_used_makes_room_and_there_are_never_more_than_fit(
    engine: Engine,
) -> None:
    records = [await engine.shop.add(FJELLVIK, f"a{number}") for number in range(3)]
    for record in (records[0], records[1], records[0], records[2]):
        await engine.use(FJELLVIK, record)
    assert [engine.resident(record) for record in records] == [True, False, True]
    assert engine.fake.most == len(engine.fake.weights) == 2


async def test_what_a_request_holds_is_not_evicted_and_others_wait_for_it(engine: Engine) -> None:
    records = [await engine.shop.add(FJELLVIK, f"a{number}") for number in range(3)]
    async with AsyncExitStack() as held:
        for record in records[:2]:
            await held.enter_async_context(engine.hold(FJELLVIK, record))
        with pytest.raises(AdapterUnavailableError):
            await engine.use(FJELLVIK, records[2], seconds=0.1)
        waiting = asyncio.create_task(engine.use(FJELLVIK, records[2]))
        await asyncio.sleep(0.05)
        assert not waiting.done()
    assert await waiting in engine.fake.weights
    assert engine.fake.most == 2


async def test_one_tenant_with_many_adapters_does_not_push_out_the_others_one(
    engine: Engine,
) -> None:
    theirs = await engine.shop.add(VOLTBAY)
    await engine.use(VOLTBAY, theirs)
    for number in range(4):
        await engine.use(FJELLVIK, await engine.shop.add(FJELLVIK, f"a{number}"))
        assert engine.resident(theirs)


class TestMinimumResidency:
    @pytest.fixture
    def places(self) -> Places:
        return Places(capacity=1, minimum_seconds=0.4, stay=1e6, patience=1e6, loading=1.0)

    async def test_alternating_tenants_do_not_thrash(self, engine: Engine) -> None:
        mine, theirs = await engine.shop.add(FJELLVIK), await engine.shop.add(VOLTBAY)
        loop = asyncio.get_running_loop()
        begun = loop.time()

        async def burst(ctx: TenantContext, record: AdapterRecord) -> None:
            while loop.time() - begun < 1.0:
                await engine.use(ctx, record)
                await asyncio.sleep(0.01)

        await asyncio.gather(burst(FJELLVIK, mine), burst(VOLTBAY, theirs))
        assert 2 <= engine.fake.loads <= 4
        assert engine.counted("cold") + engine.counted("reload") == engine.fake.loads


async def test_without_a_minimum_alternating_tenants_thrash(shop: Shop, tmp_path: Path) -> None:
    """The positive control of the test above."""
    async with running(shop, Places(1, 0.0, loading=1.0), tmp_path) as engine:
        records = {ctx: await shop.add(ctx) for ctx in (FJELLVIK, VOLTBAY)}
        for _ in range(5):
            for ctx, record in records.items():
                await engine.use(ctx, record)
        assert engine.fake.loads == 10


async def test_a_high_tiers_adapter_stays_while_others_come_and_go(engine: Engine) -> None:
    high = tenant_for_tests("enterprise-shop", tier="enterprise")
    await TenantRegistry(engine.shop.database).add(OPERATOR, high.tenant_id, "enterprise")
    pinned = await engine.shop.add(high)
    await engine.use(high, pinned)
    for number in range(3):
        for ctx in (FJELLVIK, VOLTBAY):
            await engine.use(ctx, await engine.shop.add(ctx, f"a{number}"))
            assert engine.resident(pinned)


async def test_a_prefetch_loads_and_a_request_finds_it_there(engine: Engine) -> None:
    record = await engine.shop.add(FJELLVIK)
    engine.leases.of(FJELLVIK).prefetch(record)
    while not engine.resident(record):
        await asyncio.sleep(0.01)
    await engine.use(FJELLVIK, record)
    assert engine.fake.loads == 1


async def _endless() -> AsyncGenerator[str, None]:
    try:
        while True:
            yield "word"
            await asyncio.sleep(0.01)
    finally:
        ENDED.append(True)


ENDED: list[bool] = []


@pytest.mark.parametrize("silent", [False, True])
async def test_revoking_ends_streams_at_once_and_the_engine_forgets_it(
    engine: Engine, silent: bool
) -> None:
    record = await engine.shop.add(FJELLVIK)
    other = await engine.shop.add(VOLTBAY)
    theirs = await engine.use(VOLTBAY, other)
    ENDED.clear()

    async def hangs() -> AsyncGenerator[str, None]:
        async with asyncio.timeout(60):
            try:
                yield "word"
                await asyncio.Event().wait()
            finally:
                ENDED.append(True)

    async def answer() -> None:
        async with engine.hold(FJELLVIK, record) as lease:
            async for _ in lease.guarded(hangs() if silent else _endless()):
                pass

    answering = asyncio.create_task(answer())
    await asyncio.sleep(0.2)
    await engine.shop.registry.revoke(OPERATOR, FJELLVIK.tenant_id, Reference("support"))
    with pytest.raises(AdapterUnavailableError):
        await answering
    assert ENDED == [True]
    assert list(engine.fake.weights) == [theirs]
    # A request that was resolved before the revocation comes too late.
    with pytest.raises(AdapterNotFoundError):
        await engine.use(FJELLVIK, record)
    assert list(engine.fake.weights) == [theirs]


async def test_a_revocation_during_the_load_is_not_overtaken_by_it(engine: Engine) -> None:
    record = await engine.shop.add(FJELLVIK)
    engine.fake.slowly.clear()
    using = asyncio.create_task(engine.use(FJELLVIK, record))
    while not engine.fake.folders:
        await asyncio.sleep(0.01)
    revoke = engine.shop.registry.revoke(OPERATOR, FJELLVIK.tenant_id, Reference("support"))
    revoking = asyncio.create_task(revoke)
    await asyncio.sleep(0.1)
    engine.fake.slowly.set()
    with pytest.raises(AdapterUnavailableError):
        await using
    await revoking
    assert engine.fake.weights == {}


async def test_a_deleted_tenant_leaves_the_engine(engine: Engine) -> None:
    await engine.use(FJELLVIK, await engine.shop.add(FJELLVIK))
    theirs = await engine.use(VOLTBAY, await engine.shop.add(VOLTBAY))
    await engine.shop.registry.purge(OPERATOR, FJELLVIK.tenant_id)
    assert list(engine.fake.weights) == [theirs]


async def test_an_engine_that_started_anew_is_loaded_anew(engine: Engine) -> None:
    record = await engine.shop.add(FJELLVIK)
    await engine.use(FJELLVIK, record)
    engine.fake.restart()
    assert await engine.use(FJELLVIK, record) in engine.fake.weights
    assert engine.fake.loads == 2


async def test_what_a_gateway_before_loaded_is_unloaded_first(engine: Engine) -> None:
    engine.fake.weights["somebodys"] = b""
    name = await engine.use(FJELLVIK, await engine.shop.add(FJELLVIK))
    assert list(engine.fake.weights) == [name]


async def test_an_adapter_that_the_engine_did_not_serve_is_loaded_anew(engine: Engine) -> None:
    record = await engine.shop.add(FJELLVIK)
    with pytest.raises(EngineUnavailableError):
        async with engine.hold(FJELLVIK, record):
            raise EngineUnavailableError
    await engine.use(FJELLVIK, record)
    assert engine.fake.loads == 2


async def test_what_will_not_leave_keeps_its_place(engine: Engine) -> None:
    records = [await engine.shop.add(FJELLVIK, f"a{number}") for number in range(3)]
    for record in records[:2]:
        engine.fake.stuck.add(await engine.use(FJELLVIK, record))
    with pytest.raises(AdapterUnavailableError):
        await engine.use(FJELLVIK, records[2], seconds=0.1)
    assert engine.fake.most == 2


async def test_each_tenant_pays_for_its_own_bytes_and_seconds(engine: Engine) -> None:
    mine = await engine.shop.add(FJELLVIK)
    await engine.use(FJELLVIK, mine)
    await engine.use(VOLTBAY, await engine.shop.add(VOLTBAY))
    await asyncio.sleep(0.2)
    await engine.shop.registry.revoke(OPERATOR, FJELLVIK.tenant_id, Reference("support"))
    ((payer, record),) = engine.bill.records
    assert (payer, record.adapter) == ("fjellvik", "support@1")
    assert record.seconds >= 0.2
    assert record.bytes > 10_000
    await engine.residency.close()
    assert [payer for payer, _ in engine.bill.records] == ["fjellvik", "voltbay"]
