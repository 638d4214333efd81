"""Each tenant's own key, on a real database."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select, text

from isolation.errors import TenantSuspendedError
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.control.database import Database
from serving.control.tables import TenantKeyRow
from serving.control.tenant_keys import TenantKeys
from serving.control.tenants import TenantRegistry
from serving.key_wrapping import KeyFile, KeyNotOpenedError

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
OLD, NEW = KeyFile(b"o" * 32), KeyFile(b"n" * 32)


@pytest.fixture
async def database(database: Database) -> Database:
    for ctx in (FJELLVIK, VOLTBAY):
        await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
    return database


async def test_a_key_is_the_tenants_own_stable_and_by_purpose(database: Database) -> None:
    keys = TenantKeys(database, OLD)
    first = await keys.of(FJELLVIK).derived("passages")
    assert first == await TenantKeys(database, OLD).of(FJELLVIK).derived("passages")
    others = {await keys.of(VOLTBAY).derived("passages"), await keys.of(FJELLVIK).derived("other")}
    assert first not in others
    assert len(others) == 2


async def test_first_uses_at_once_make_one_key(database: Database) -> None:
    keys = TenantKeys(database, OLD)
    made = await asyncio.gather(*(keys.of(FJELLVIK).derived("passages") for _ in range(8)))
    assert len(set(made)) == 1


async def test_a_destroyed_key_does_not_come_back_while_its_tenant_is_deleted(
    database: Database,
) -> None:
    keys = TenantKeys(database, OLD)
    await keys.of(FJELLVIK).derived("passages")
    kept = await keys.of(VOLTBAY).derived("passages")
    await TenantRegistry(database).begin_deletion(OPERATOR, FJELLVIK.tenant_id)
    assert await keys.purge(OPERATOR, FJELLVIK.tenant_id)
    assert not await keys.purge(OPERATOR, FJELLVIK.tenant_id)
    with pytest.raises(TenantSuspendedError):
        await keys.of(FJELLVIK).derived("passages")
    assert await keys.of(VOLTBAY).derived("passages") == kept


async def test_another_master_key_opens_nothing_until_the_rotation(database: Database) -> None:
    before = await TenantKeys(database, OLD).of(FJELLVIK).derived("passages")
    rotated = TenantKeys(database, NEW)
    with pytest.raises(KeyNotOpenedError):
        await rotated.of(FJELLVIK).derived("passages")
    assert await rotated.rewrap(OPERATOR, OLD) == 1
    assert await rotated.of(FJELLVIK).derived("passages") == before
    with pytest.raises(KeyNotOpenedError):
        await TenantKeys(database, OLD).of(FJELLVIK).derived("passages")


async def test_a_rotation_that_fails_leaves_every_key_as_it_was(database: Database) -> None:
    keys = TenantKeys(database, OLD)
    before = [await keys.of(ctx).derived("passages") for ctx in (FJELLVIK, VOLTBAY)]
    damaged = "UPDATE tenant_keys SET wrapped = :w WHERE tenant_id = 'voltbay'"
    async with database.transaction() as session:
        rows = await session.scalars(
            select(TenantKeyRow.wrapped).where(TenantKeyRow.tenant_id == "voltbay")
        )
        intact = rows.one()
        await session.execute(text(damaged), {"w": bytes(60)})
    with pytest.raises(KeyNotOpenedError):
        await TenantKeys(database, NEW).rewrap(OPERATOR, OLD)
    async with database.transaction() as session:
        await session.execute(text(damaged), {"w": intact})
    after = [await keys.of(ctx).derived("passages") for ctx in (FJELLVIK, VOLTBAY)]
    assert before == after


async def test_a_tenants_wrapped_key_opens_for_no_other(database: Database) -> None:
    keys = TenantKeys(database, OLD)
    for ctx in (FJELLVIK, VOLTBAY):
        await keys.of(ctx).derived("passages")
    moved = (
        "UPDATE tenant_keys SET wrapped = (SELECT wrapped FROM tenant_keys "
        "WHERE tenant_id = 'fjellvik') WHERE tenant_id = 'voltbay'"
    )
    async with database.transaction() as session:
        await session.execute(text(moved))
    with pytest.raises(KeyNotOpenedError):
        await keys.of(VOLTBAY).derived("passages")
