"""One re-embedding over all gateways of a database, and no commit that it does not know of."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update

from isolation.errors import UnmintedContextError
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.errors import StoreUnavailableError, VectorsMovingError
from serving.control.catalog import SqlDocumentCatalog
from serving.control.database import Database, utc_now
from serving.control.errors import ReembeddingLostError, ReembeddingRunsError
from serving.control.moves import Moves
from serving.control.tables import VectorMoveRow
from serving.control.tenants import TenantRegistry

OPERATOR, FJELLVIK = operator_for_tests(), tenant_for_tests("fjellvik")


async def _lease_ends(database: Database) -> None:
    async with database.transaction() as session:
        past = utc_now() - timedelta(seconds=1)
        await session.execute(update(VectorMoveRow).values(expires_at=past))


async def test_a_re_embedding_is_one_gateways_at_a_time(database: Database) -> None:
    one, two = Moves(database), Moves(database)
    async with one.taken(OPERATOR, "new"):
        with pytest.raises(ReembeddingRunsError):
            await two.check_still()
        with pytest.raises(ReembeddingRunsError):
            async with two.taken(OPERATOR, "new"):
                pass
    async with two.taken(OPERATOR, "newer"):
        assert await one.now() == (0, "newer")
    with pytest.raises(UnmintedContextError):
        async with one.taken(FJELLVIK, "new"):  # type: ignore[arg-type]
            pass


async def test_nothing_is_committed_while_it_switches_nor_behind_it_before_it_is_followed(
    database: Database,
) -> None:
    await TenantRegistry(database).add(OPERATOR, FJELLVIK.tenant_id, "business")
    mover, other = Moves(database), Moves(database)
    mine = SqlDocumentCatalog(database, other).of(FJELLVIK)
    claim = await mine.begin("returns")
    async with mover.taken(OPERATOR, "new"), mover.held(OPERATOR, "bulkhead-0002"):
        with pytest.raises(VectorsMovingError):
            await mine.remove(claim)
    for _ in range(2):
        with pytest.raises(VectorsMovingError):
            await mine.remove(claim)
        with pytest.raises(VectorsMovingError):
            await mine.begin("parcels")
        assert await SqlDocumentCatalog(database, other).take_over(OPERATOR, alone=False) == []
    other.epoch, _ = await other.now()
    assert other.epoch == mover.epoch == 1
    assert not await mine.remove(claim)
    await mine.begin("parcels")


async def test_a_gateway_that_is_silent_loses_it_and_cannot_end_it(database: Database) -> None:
    slow, other = Moves(database), Moves(database)

    async def standing_still() -> None:
        async with slow.taken(OPERATOR, "new"), slow.held(OPERATOR, "bulkhead-0002"):
            await _lease_ends(database)
            assert await other.beat() == 1
            await slow.require_held()

    with pytest.raises(ReembeddingLostError):
        await standing_still()
    with pytest.raises(ReembeddingRunsError):
        # What the others made of it is followed first.
        async with slow.taken(OPERATOR, "new"):
            pass


async def test_a_switch_in_doubt_keeps_commits_waiting_until_the_lease_ends(
    database: Database,
) -> None:
    mover, other = Moves(database), Moves(database)

    async def cut_off() -> None:
        async with mover.taken(OPERATOR, "new"), mover.held(OPERATOR, "bulkhead-0002"):
            await mover.require_held()
            raise StoreUnavailableError

    with pytest.raises(StoreUnavailableError):
        await cut_off()
    with pytest.raises(ReembeddingRunsError):
        await other.check_still()
    await _lease_ends(database)
    assert await other.beat() == 1
    await other.check_still()


async def test_a_gateway_that_has_not_followed_is_waited_for_until_it_has_or_is_gone(
    database: Database,
) -> None:
    mover, slow, gone = Moves(database), Moves(database), Moves(database)
    await slow.beat()
    await gone.beat()
    async with mover.taken(OPERATOR, "new"):
        async with mover.held(OPERATOR, "bulkhead-0002"):
            pass
        waiting = asyncio.ensure_future(mover.followed(OPERATOR))
        await gone.leave()
        await asyncio.sleep(0.3)
        assert not waiting.done()
        slow.epoch = 1
        await slow.beat()
        await waiting


async def test_all_gateways_answer_with_what_the_first_one_found(database: Database) -> None:
    one, two = Moves(database), Moves(database)

    async def alias() -> str:
        return "bulkhead"

    async def moved_too_late() -> str:
        return "bulkhead-0002"

    assert await one.agreed(alias) == (0, "bulkhead")
    assert await two.agreed(moved_too_late) == (0, "bulkhead")
    async with one.taken(OPERATOR, "new"), one.held(OPERATOR, "bulkhead-0003"):
        pass
    assert await two.agreed(moved_too_late) == (1, "bulkhead-0003")
