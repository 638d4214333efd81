"""Two gateways on one database: what is revoked at one ends at the other, and nothing else does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from isolation.errors import UnmintedContextError
from serving.adapters.errors import AdapterNotFoundError
from serving.adapters.names import Reference
from serving.adapters.ports import AdapterRecord
from serving.control.database import Database, utc_now
from serving.control.tables import AdapterGatewayRow
from serving.control.tenants import TenantRegistry
from tests.adapters.conftest import FJELLVIK, OPERATOR, VOLTBAY
from tests.adapters.fake_engine import FakeLoraEngine
from tests.control.adapter_gateways import PATIENCE, Gateway, gateway

Open = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def opened(database_url: str, tmp_path: Path) -> AsyncGenerator[Open, None]:
    """Opens gateways on one database of two tenants; closes them behind the test."""
    database = await Database.open(database_url)
    for ctx in (FJELLVIK, VOLTBAY):
        await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
    await database.close()
    async with AsyncExitStack() as stack:

        async def one_more(number: int, **more: Any) -> Gateway:
            return await stack.enter_async_context(gateway(database_url, tmp_path, number, **more))

        yield one_more


async def _revoke_version(here: Gateway) -> None:
    await here.shop.registry.revoke(OPERATOR, FJELLVIK.tenant_id, Reference("support", 1))


async def _revoke_adapter(here: Gateway) -> None:
    await here.shop.registry.revoke(OPERATOR, FJELLVIK.tenant_id, Reference("support"))


async def _delete_version(here: Gateway) -> None:
    await here.shop.registry.of(FJELLVIK).delete(Reference("support", 1))


async def _begin_deletion(here: Gateway) -> None:
    await TenantRegistry(here.database).begin_deletion(OPERATOR, FJELLVIK.tenant_id)


async def _delete_tenant(here: Gateway) -> None:
    await _begin_deletion(here)
    await here.shop.registry.purge(OPERATOR, FJELLVIK.tenant_id)


Way = Callable[[Gateway], Awaitable[None]]
WAYS = [_revoke_version, _revoke_adapter, _delete_version, _begin_deletion, _delete_tenant]


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_revoked_at_one_gateway_ends_at_the_other_within_a_second(
    opened: Open, way: Way
) -> None:
    here, there = await opened(1), await opened(2)
    mine, theirs = await here.shop.add(FJELLVIK), await here.shop.add(VOLTBAY)
    streams = [await one.stream(FJELLVIK, mine) for one in (here, there)]
    others = [await one.stream(VOLTBAY, theirs) for one in (here, there)]
    await way(here)
    for stream in streams:
        assert await stream.ended()
    for one, other in zip((here, there), others, strict=True):
        assert await one.left(mine)
        assert await other.goes_on()
        assert one.resident(theirs)
        assert len(one.engine.weights) == 1
        with pytest.raises(AdapterNotFoundError):
            await one.stream(FJELLVIK, mine)


@pytest.mark.parametrize("way", WAYS)
async def test_at_a_gateway_that_does_not_follow_the_stream_lives_on(
    opened: Open, way: Way
) -> None:
    """The leaky twin of the test above: what it would not catch proves nothing."""
    here, there = await opened(1), await opened(2, follows=False)
    mine = await here.shop.add(FJELLVIK)
    stream = await there.stream(FJELLVIK, mine)
    await way(here)
    assert not await stream.ended(1.2)
    assert await stream.goes_on()
    assert there.resident(mine)


async def test_another_version_and_another_tenants_of_the_same_name_stay(opened: Open) -> None:
    here, there = await opened(1), await opened(2)
    first, second = await here.shop.add(FJELLVIK), await here.shop.add(FJELLVIK)
    theirs = await here.shop.add(VOLTBAY)
    ends = await there.stream(FJELLVIK, first)
    stay = [await there.stream(FJELLVIK, second), await there.stream(VOLTBAY, theirs)]
    await _revoke_version(here)
    assert await ends.ended()
    assert all([await stream.goes_on() for stream in stay])
    assert there.engine.loads == 3


async def test_a_suspended_tenants_answers_are_finished_as_at_one_gateway(opened: Open) -> None:
    here, there = await opened(1), await opened(2)
    stream = await there.stream(FJELLVIK, await here.shop.add(FJELLVIK))
    await TenantRegistry(here.database).set_suspended(OPERATOR, FJELLVIK.tenant_id, True)
    assert await stream.goes_on(0.5)


async def test_a_load_that_a_revocation_elsewhere_overtakes_serves_nobody(opened: Open) -> None:
    here, there = await opened(1), await opened(2)
    mine = await here.shop.add(FJELLVIK)
    there.engine.slowly.clear()
    asking = asyncio.create_task(there.stream(FJELLVIK, mine))
    while not there.engine.folders:
        await asyncio.sleep(0.01)
    await _revoke_version(here)
    await asyncio.sleep(0.3)
    there.engine.slowly.set()
    await asyncio.wait({asking})
    assert asking.exception() is not None
    assert await there.left(mine)
    assert there.engine.weights == {}


async def test_a_stream_on_a_load_that_serves_nobody_else_ends_too(opened: Open) -> None:
    """Another request found the engine failing with it, so the next one loads it anew."""
    here, there = await opened(1), await opened(2)
    mine = await here.shop.add(FJELLVIK)
    old = await there.stream(FJELLVIK, mine)
    (resident,) = there.residency.held()
    resident.leases += 1
    there.residency.give_back(resident, failed=True)
    new = await there.stream(FJELLVIK, mine)
    assert there.engine.loads == 2
    await _revoke_version(here)
    assert await old.ended()
    assert await new.ended()
    assert await there.left(mine)


class TestFinishing:
    """The policy `finish`: who has begun may go on for the grace, and nobody else begins."""

    GRACE = 1.0

    async def test_answers_in_flight_go_on_for_the_grace_and_nobody_else_begins(
        self, opened: Open
    ) -> None:
        here, there = await opened(1, grace=self.GRACE), await opened(2, grace=self.GRACE)
        mine = await here.shop.add(FJELLVIK)
        streams = [await one.stream(FJELLVIK, mine) for one in (here, there)]
        async with asyncio.timeout(self.GRACE / 2):
            await _revoke_version(here)
        for one, stream in zip((here, there), streams, strict=True):
            assert await stream.goes_on(0.2)
            with pytest.raises(AdapterNotFoundError):
                await one.stream(FJELLVIK, mine)
        for one, stream in zip((here, there), streams, strict=True):
            assert await stream.ended(self.GRACE + 1)
            assert await one.left(mine)

    async def test_it_leaves_with_its_last_answer(self, opened: Open) -> None:
        there = await opened(1, grace=60.0)
        mine = await there.shop.add(FJELLVIK)
        stream = await there.stream(FJELLVIK, mine)
        await _revoke_version(there)
        assert await stream.goes_on()
        stream.task.cancel()
        assert await there.left(mine)

    @pytest.mark.parametrize("way", [_begin_deletion, _delete_tenant])
    async def test_a_deleted_tenant_has_no_grace_nor_what_is_in_it(
        self, opened: Open, way: Way
    ) -> None:
        here, there = await opened(1, grace=60.0), await opened(2, grace=60.0)
        mine, other = await here.shop.add(FJELLVIK), await here.shop.add(FJELLVIK, "sales")
        streams = [await there.stream(FJELLVIK, record) for record in (mine, other)]
        await _revoke_version(here)
        assert await streams[0].goes_on()
        await way(here)
        assert all([await stream.ended() for stream in streams])


def _raising() -> Any:
    raise OperationalError("SELECT", {}, Exception("away"))


@asynccontextmanager
async def _hanging() -> AsyncGenerator[None, None]:
    await asyncio.Event().wait()
    yield


class TestWithoutTheDatabase:
    @pytest.mark.parametrize("away", [_raising, _hanging])
    async def test_nothing_is_held_any_more_and_it_comes_back_with_the_database(
        self, opened: Open, away: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here, there = await opened(1), await opened(2, grace=60.0)
        mine, theirs = await here.shop.add(FJELLVIK), await here.shop.add(VOLTBAY)
        held = await here.stream(FJELLVIK, mine)
        streams = [await there.stream(c, r) for c, r in ((FJELLVIK, mine), (VOLTBAY, theirs))]
        with monkeypatch.context() as patched:
            patched.setattr(there.database, "transaction", away)
            assert all([await stream.goes_on(PATIENCE / 8) for stream in streams])
            assert all([await stream.ended(PATIENCE * 3) for stream in streams])
            for _ in range(100):
                if not there.engine.weights:
                    break
                await asyncio.sleep(0.02)
            assert there.engine.weights == {}
        assert await held.goes_on()
        again = await there.stream(FJELLVIK, mine)
        assert await again.goes_on(PATIENCE)

    async def test_answers_that_fail_now_and_then_end_nothing(
        self, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        there = await opened(1)
        stream = await there.stream(FJELLVIK, await there.shop.add(FJELLVIK))
        transaction, asked = there.database.transaction, itertools.count()
        monkeypatch.setattr(
            there.database,
            "transaction",
            lambda: _raising() if next(asked) % 2 else transaction(),
        )
        assert await stream.goes_on(PATIENCE * 1.5)
        assert next(asked) > 5


class TestOneEngine:
    """Gateways that load into the same engine."""

    async def test_neither_unloads_what_the_other_holds(self, opened: Open) -> None:
        engine = FakeLoraEngine()
        here, there = await opened(1, engine=engine), await opened(2, engine=engine)
        mine, theirs = await here.shop.add(FJELLVIK), await here.shop.add(VOLTBAY)
        first = await here.stream(FJELLVIK, mine)
        second = await there.stream(VOLTBAY, theirs)
        for one in (here, there):
            await one.residency._tidied()
        assert len(engine.weights) == 2
        assert await first.goes_on()
        assert await second.goes_on()

    async def test_a_gateway_that_knows_of_no_others_unloads_theirs(self, opened: Open) -> None:
        """The leaky twin of the test above."""
        engine = FakeLoraEngine()
        here = await opened(1, engine=engine)
        there = await opened(2, engine=engine, shares=False)
        mine, theirs = await here.shop.add(FJELLVIK), await here.shop.add(VOLTBAY)
        await here.stream(FJELLVIK, mine)
        await there.stream(VOLTBAY, theirs)
        assert len(engine.weights) == 1

    async def test_what_a_dead_gateway_left_is_unloaded_once_it_was_silent(
        self, opened: Open
    ) -> None:
        engine = FakeLoraEngine()
        dead, alive = await opened(1, engine=engine), await opened(2, engine=engine)
        await dead.stream(FJELLVIK, await dead.shop.add(FJELLVIK))
        await alive.stream(VOLTBAY, await dead.shop.add(VOLTBAY))
        await alive.residency._tidied()
        assert len(engine.weights) == 2
        await _silent(alive, "gateway 1", timedelta(seconds=61))
        await alive.residency._tidied()
        assert list(engine.weights) == [r.engine_name for r in alive.residency.held()]

    async def test_what_a_gateway_left_that_went_is_unloaded(self, opened: Open) -> None:
        engine = FakeLoraEngine()
        gone, alive = await opened(1, engine=engine), await opened(2, engine=engine)
        await gone.stream(FJELLVIK, await gone.shop.add(FJELLVIK))
        await gone.presence.leave()
        await alive.stream(VOLTBAY, await gone.shop.add(VOLTBAY))
        assert list(engine.weights) == [r.engine_name for r in alive.residency.held()]

    async def test_a_gateways_next_life_tidies_its_own_at_once_and_nobody_elses(
        self, opened: Open
    ) -> None:
        engine = FakeLoraEngine()
        killed, other = await opened(1, engine=engine), await opened(2, engine=engine)
        mine, theirs = await killed.shop.add(FJELLVIK), await killed.shop.add(VOLTBAY)
        await killed.stream(FJELLVIK, mine)
        await other.stream(VOLTBAY, theirs)
        next_life = await opened(1, engine=engine)
        await next_life.stream(FJELLVIK, mine)
        known = [*next_life.residency.held(), *other.residency.held()]
        assert set(engine.weights) == {resident.engine_name for resident in known}

    async def test_strangers_of_nobody_go(self, opened: Open) -> None:
        engine = FakeLoraEngine()
        engine.weights["somebodys"] = engine.weights["0" * 64] = b""
        here = await opened(1, engine=engine)
        await here.stream(FJELLVIK, await here.shop.add(FJELLVIK))
        assert len(engine.weights) == 1

    async def test_nothing_is_unloaded_while_the_others_cannot_be_known(
        self, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = FakeLoraEngine()
        here, there = await opened(1, engine=engine), await opened(2, engine=engine)
        await here.stream(FJELLVIK, await here.shop.add(FJELLVIK))
        with monkeypatch.context() as patched:
            patched.setattr(there.database, "transaction", _raising)
            with pytest.raises(Exception, match="cannot be loaded"):
                await there.residency._tidied()
        assert len(engine.weights) == 1


async def _silent(by: Gateway, owner: str, for_so_long: timedelta) -> None:
    row = update(AdapterGatewayRow).where(AdapterGatewayRow.owner == owner)
    async with by.database.transaction() as session:
        await session.execute(row.values(seen_at=utc_now() - for_so_long))


async def test_it_is_asked_of_every_version_that_is_held_and_only_by_the_operator(
    opened: Open,
) -> None:
    here = await opened(1, follows=False)
    records: list[AdapterRecord] = [await here.shop.add(FJELLVIK) for _ in range(3)]
    index = here.shop.parts.index
    assert not (await index.out_of_service(OPERATOR, records)).revoked
    await _revoke_version(here)
    await here.shop.registry.of(FJELLVIK).delete(Reference("support", 2))
    ended = await index.out_of_service(OPERATOR, records)
    assert ended.revoked == {record.upload for record in records[:2]}
    assert ended.deleted == frozenset()
    await _begin_deletion(here)
    ended = await index.out_of_service(OPERATOR, records)
    assert ended.deleted == {record.upload for record in records}
    assert ended.revoked == frozenset()
    with pytest.raises(UnmintedContextError):
        await index.out_of_service(FJELLVIK, records)  # type: ignore[arg-type]
