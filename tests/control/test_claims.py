"""One writer a document, over all gateways of a database; and what a slow one may no longer do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from isolation.context import TenantContext
from isolation.errors import TenantSuspendedError
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.catalog import CatalogEntry, Claim
from rag.errors import DocumentBusyError
from serving.control.catalog import SqlDocumentCatalog
from serving.control.database import Database, utc_now
from serving.control.tables import PendingWriteRow
from serving.control.tenants import TenantRegistry

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


@pytest.fixture
async def catalog(database: Database) -> SqlDocumentCatalog:
    for ctx in (FJELLVIK, VOLTBAY):
        await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
    return SqlDocumentCatalog(database)


def _entry(version: str) -> CatalogEntry:
    return CatalogEntry(
        "returns", "Returns", version, "0" * 64, 1, datetime(2026, 1, 1, tzinfo=UTC)
    )


async def _silence(database: Database, ctx: TenantContext) -> None:
    """Time passes, in which the tenant's writers say nothing."""
    past = utc_now() - timedelta(seconds=1)
    async with database.transaction() as session:
        mine = PendingWriteRow.tenant_id == ctx.tenant_id
        await session.execute(update(PendingWriteRow).where(mine).values(expires_at=past))


async def _is_stale(catalog: SqlDocumentCatalog, claim: Claim) -> None:
    mine = catalog.of(FJELLVIK)
    for late in (mine.renew(claim), mine.commit(_entry("late"), claim), mine.remove(claim)):
        with pytest.raises(DocumentBusyError):
            await late
    await mine.finish(claim)
    await mine.let_go(claim)


async def test_of_many_that_begin_at_once_one_has_the_document(
    catalog: SqlDocumentCatalog,
) -> None:
    begun = await asyncio.gather(
        *(catalog.of(FJELLVIK).begin("returns", f"v{n}") for n in range(8)), return_exceptions=True
    )
    claims = [one for one in begun if isinstance(one, Claim)]
    assert len(claims) == 1
    assert all(isinstance(one, Claim | DocumentBusyError) for one in begun)
    assert await catalog.of(VOLTBAY).begin("returns", "v1")  # the other tenant's is its own


async def test_a_silent_writers_document_is_taken_over_and_it_commits_nothing(
    catalog: SqlDocumentCatalog, database: Database
) -> None:
    mine = catalog.of(FJELLVIK)
    slow = await mine.begin("returns", "v1")
    with pytest.raises(DocumentBusyError):
        await mine.begin("returns", "v2")
    await _silence(database, FJELLVIK)
    claim = await mine.begin("returns", "v2")
    assert claim.versions == {"v1", "v2"}
    await _is_stale(catalog, slow)
    await mine.commit(_entry("v2"), claim)
    await mine.finish(claim)
    assert (await mine.begin("returns", "v3")).versions == {"v2", "v3"}


async def test_who_renews_is_not_silent(catalog: SqlDocumentCatalog, database: Database) -> None:
    mine = catalog.of(FJELLVIK)
    claim = await mine.begin("returns", "v1")
    await _silence(database, FJELLVIK)
    await mine.renew(claim)
    with pytest.raises(DocumentBusyError):
        await mine.begin("returns", "v2")
    assert await catalog.take_over(OPERATOR, alone=False) == []


async def test_what_is_let_go_may_be_had_at_once_and_is_still_known(
    catalog: SqlDocumentCatalog,
) -> None:
    mine = catalog.of(FJELLVIK)
    claim = await mine.begin("returns", "v1")
    await mine.let_go(claim)
    assert await mine.unfinished("returns")
    assert (await mine.begin("returns", "v2")).versions == {"v1", "v2"}


async def test_only_one_of_two_gateways_takes_over(
    catalog: SqlDocumentCatalog, database: Database
) -> None:
    slow = await catalog.of(FJELLVIK).begin("returns", "v1")
    assert await catalog.take_over(OPERATOR, alone=False) == []
    await _silence(database, FJELLVIK)
    both = await asyncio.gather(*(catalog.take_over(OPERATOR, alone=False) for _ in range(2)))
    assert sorted(len(taken) for taken in both) == [0, 1]
    await _is_stale(catalog, slow)


async def test_a_tenant_that_is_being_deleted_writes_nowhere(
    catalog: SqlDocumentCatalog, database: Database
) -> None:
    claim = await catalog.of(FJELLVIK).begin("returns", "v1")
    await TenantRegistry(database).begin_deletion(OPERATOR, FJELLVIK.tenant_id)
    assert await catalog.writing(OPERATOR, FJELLVIK.tenant_id)
    with pytest.raises(TenantSuspendedError):
        await catalog.of(FJELLVIK).begin("another", "v1")
    await catalog.of(FJELLVIK).finish(claim)
    assert not await catalog.writing(OPERATOR, FJELLVIK.tenant_id)
    assert not await catalog.writing(OPERATOR, VOLTBAY.tenant_id)
    assert await catalog.of(VOLTBAY).begin("another", "v1")
