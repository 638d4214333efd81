"""The index of adapter versions on a real database, where requests meet."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from isolation.errors import TenantSuspendedError
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.adapters.errors import AdapterLimitError
from serving.adapters.names import NOTHING, Reference
from serving.adapters.ports import ACTIVE, AdapterRecord, TenantAdapterIndex
from serving.control.adapters import SqlAdapterIndex
from serving.control.database import Database
from serving.control.tenants import TenantRegistry

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


@pytest.fixture
async def index(database: Database) -> SqlAdapterIndex:
    for ctx in (FJELLVIK, VOLTBAY):
        await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
    return SqlAdapterIndex(database)


async def _add(own: TenantAdapterIndex, name: str = "support", limit: int = 100) -> AdapterRecord:
    upload = secrets.token_hex(16)
    version = await own.begin(name, upload, "f" * 64, limit)
    record = AdapterRecord(
        FJELLVIK.tenant_id, name, version, upload, ACTIVE, "f" * 64, b"m", b"s", b"k"
    )
    await own.commit(record)
    return record


async def test_uploads_at_once_get_numbers_of_their_own(index: SqlAdapterIndex) -> None:
    records = await asyncio.gather(*(_add(index.of(FJELLVIK)) for _ in range(10)))
    assert sorted(record.version for record in records) == list(range(1, 11))


async def test_a_number_is_never_given_twice_also_after_a_deletion(index: SqlAdapterIndex) -> None:
    own = index.of(FJELLVIK)
    await _add(own)
    await own.remove(Reference("support"))
    assert (await _add(own)).version == 2
    assert (await _add(own, "sales")).version == 1


async def test_the_newest_active_version_is_meant(index: SqlAdapterIndex) -> None:
    own = index.of(FJELLVIK)
    records = [await _add(own) for _ in range(3)]
    await own.revoke(Reference("support", 3))
    assert await own.find(Reference("support")) == records[1]
    assert await own.find(Reference("support", 1)) == records[0]
    for nothing in (NOTHING, Reference("support", 3), Reference("support", 9), Reference("sales")):
        assert await own.find(nothing) is None
    assert await index.of(VOLTBAY).find(Reference("support", 1)) is None


async def test_the_limit_holds_and_one_tenants_does_not_count_for_the_other(
    index: SqlAdapterIndex,
) -> None:
    for _ in range(2):
        await _add(index.of(FJELLVIK), limit=2)
    with pytest.raises(AdapterLimitError):
        await _add(index.of(FJELLVIK), limit=2)
    await index.of(VOLTBAY).begin("support", "u", "f", 2)


async def test_an_upload_that_the_deletion_overtook_is_not_committed(
    index: SqlAdapterIndex, database: Database
) -> None:
    own, upload = index.of(FJELLVIK), secrets.token_hex(16)
    version = await own.begin("support", upload, "f" * 64, 10)
    await TenantRegistry(database).begin_deletion(OPERATOR, FJELLVIK.tenant_id)
    (loose,) = await index.purge(OPERATOR, FJELLVIK.tenant_id)
    await index.settled(OPERATOR, loose.upload)
    record = AdapterRecord(
        FJELLVIK.tenant_id, "support", version, upload, ACTIVE, "f" * 64, b"m", b"s", b"k"
    )
    with pytest.raises(TenantSuspendedError):
        await own.commit(record)
    with pytest.raises(TenantSuspendedError):
        await own.begin("support", "u", "f", 10)
    assert await own.versions() == []


async def test_a_stranger_settles_no_folder_of_another_tenant(index: SqlAdapterIndex) -> None:
    upload = secrets.token_hex(16)
    await index.of(FJELLVIK).begin("support", upload, "f" * 64, 10)
    await index.of(VOLTBAY).settled(upload)
    assert len(await index.purge(OPERATOR, FJELLVIK.tenant_id)) == 1
