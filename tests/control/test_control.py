"""Identity and catalogue on a real database: two tenants, the same document ids."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, true
from sqlalchemy.ext.asyncio import create_async_engine

from isolation.context import TenantContext
from isolation.errors import InvalidApiKeyError, TenantSuspendedError
from isolation.keys import issue_key
from isolation.policy import Limits
from isolation.tenant_id import TenantId, tenant_id
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.catalog import CatalogEntry
from serving.control import catalog as catalog_module
from serving.control.authentication import ApiKeyAuthenticator, OperatorKeyAuthenticator
from serving.control.catalog import SqlDocumentCatalog
from serving.control.database import Database
from serving.control.errors import KeyNotFoundError, TenantExistsError, TenantNotFoundError
from serving.control.tables import Base
from serving.control.tenants import TenantRegistry
from tests.postgres import Postgres

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


@pytest.fixture
async def database(database: Database) -> Database:
    for ctx in (FJELLVIK, VOLTBAY):
        await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
    return database


def _entry(title: str, name: str = "returns.md") -> CatalogEntry:
    return CatalogEntry(name, title, "v1", "f" * 64, 1, datetime.now(UTC))


async def test_the_migrated_schema_is_the_tables(database: Database, database_url: str) -> None:
    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
    await engine.dispose()


def _differences(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


async def test_what_was_written_is_there_after_another_open(
    database: Database, database_url: str
) -> None:
    again = await Database.open(database_url)
    assert len(await TenantRegistry(again).list(OPERATOR)) == 2
    await again.close()


async def test_the_databases_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "data" / "private.db"
    await (await Database.open(f"sqlite+aiosqlite:///{path}")).close()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_gateways_that_start_at_once_migrate_once(postgres: Postgres) -> None:
    url = postgres.fresh("started_at_once")
    opened = await asyncio.gather(*(Database.open(url) for _ in range(4)))
    await TenantRegistry(opened[0]).add(OPERATOR, FJELLVIK.tenant_id, "business")
    for database in opened:
        assert len(await TenantRegistry(database).list(OPERATOR)) == 1
        await database.close()


async def test_a_key_opens_its_own_tenant_and_no_other(database: Database) -> None:
    registry, authenticator = TenantRegistry(database), ApiKeyAuthenticator(database)
    for ctx in (FJELLVIK, VOLTBAY):
        key = await registry.issue_key(OPERATOR, ctx.tenant_id)
        opened = await authenticator.authenticate(key.text)
        assert (opened.tenant_id, opened.credential_id) == (ctx.tenant_id, key.key_id)


async def test_every_bad_key_is_refused_alike(database: Database) -> None:
    registry, authenticator = TenantRegistry(database), ApiKeyAuthenticator(database)
    good, other, revoked = [
        await registry.issue_key(OPERATOR, FJELLVIK.tenant_id) for _ in range(3)
    ]
    expired = await registry.issue_key(OPERATOR, FJELLVIK.tenant_id, timedelta(seconds=-1))
    await registry.revoke_key(OPERATOR, revoked.key_id)
    crossed = f"bk_{good.key_id}_{other.text.split('_', 2)[2]}"
    messages = set()
    for bad in (issue_key().text, "bk_malformed", "", crossed, revoked.text, expired.text):
        with pytest.raises(InvalidApiKeyError) as caught:
            await authenticator.authenticate(bad)
        messages.add(caught.value.message)
    assert len(messages) == 1
    assert (await authenticator.authenticate(good.text)).tenant_id == "fjellvik"


async def test_only_a_valid_key_learns_of_the_suspension(database: Database) -> None:
    registry, authenticator = TenantRegistry(database), ApiKeyAuthenticator(database)
    key = await registry.issue_key(OPERATOR, FJELLVIK.tenant_id)
    await registry.set_suspended(OPERATOR, FJELLVIK.tenant_id, True)
    with pytest.raises(TenantSuspendedError):
        await authenticator.authenticate(key.text)
    await registry.set_suspended(OPERATOR, FJELLVIK.tenant_id, False)
    assert (await authenticator.authenticate(key.text)).tenant_id == "fjellvik"


async def test_limits_are_one_tenants_own_and_hold_from_its_next_request(
    database: Database,
) -> None:
    registry, authenticator = TenantRegistry(database), ApiKeyAuthenticator(database)
    keys = [await registry.issue_key(OPERATOR, ctx.tenant_id) for ctx in (FJELLVIK, VOLTBAY)]

    async def limits() -> list[tuple[int | None, ...]]:
        seen = [await authenticator.authenticate(key.text) for key in keys]
        return [
            (ctx.tier.requests_per_minute, ctx.tier.tokens_per_minute, ctx.tier.tokens_per_month)
            for ctx in seen
        ]

    tiers = (await limits())[0]
    assert await limits() == [tiers, tiers]
    own = Limits(requests_per_minute=7, tokens_per_month=None)
    now = await registry.set_limits(OPERATOR, FJELLVIK.tenant_id, own)
    assert now == {**own, "tokens_per_minute": tiers[1]}
    await registry.set_limits(OPERATOR, FJELLVIK.tenant_id, Limits(tokens_per_minute=9))
    assert await limits() == [(7, 9, None), tiers]
    listed = {tenant.id: tenant.limits for tenant in await registry.list(OPERATOR)}
    assert listed[FJELLVIK.tenant_id] == {**own, "tokens_per_minute": 9}
    await registry.set_limits(OPERATOR, FJELLVIK.tenant_id, None)
    assert await limits() == [tiers, tiers]
    with pytest.raises(TenantNotFoundError):
        await registry.set_limits(OPERATOR, tenant_id("nobody"), own)


async def test_unknown_and_taken_ids_are_said_so(database: Database) -> None:
    registry, nobody = TenantRegistry(database), tenant_id("nobody")
    with pytest.raises(TenantExistsError):
        await registry.add(OPERATOR, FJELLVIK.tenant_id, "starter")
    with pytest.raises(TenantNotFoundError):
        await registry.issue_key(OPERATOR, nobody)
    with pytest.raises(KeyNotFoundError):
        await registry.revoke_key(OPERATOR, "a" * 16)


def test_only_the_admin_key_opens_the_operators_side() -> None:
    authenticator = OperatorKeyAuthenticator("secret")
    assert authenticator.authenticate("secret").operator == "admin-key"
    with pytest.raises(InvalidApiKeyError):
        authenticator.authenticate("")


async def _crosses(database: Database) -> bool:
    """Whether one tenant's catalogue shows or changes the other's."""
    catalog = SqlDocumentCatalog(database)
    await _commit(catalog, FJELLVIK, "Ours")
    if await catalog.of(VOLTBAY).get("returns.md") or await catalog.of(VOLTBAY).list():
        return True
    if await catalog.of(VOLTBAY).page(after="returns", limit=5):
        return True
    removed = await catalog.of(VOLTBAY).remove(await catalog.of(VOLTBAY).begin("returns.md"))
    kept = await catalog.of(FJELLVIK).get("returns.md")
    assert kept is not None
    return removed or kept.title != "Ours"


async def test_a_catalogue_never_crosses_tenants(database: Database) -> None:
    assert not await _crosses(database)


async def test_a_twin_that_forgets_the_tenant_is_caught(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "of_document", lambda *_: true())
    assert await _crosses(database)


async def test_a_catalogue_is_listed_by_pages(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = SqlDocumentCatalog(database)
    ids = ["a", "a/b", "b", "c", "é"]
    for name in ids:
        await _commit(catalog, FJELLVIK, "Ours", name)
        await _commit(catalog, VOLTBAY, "Theirs", f"{name}2")
    mine = catalog.of(FJELLVIK)
    monkeypatch.setattr("rag.catalog._PAGE", 2)
    assert sorted(entry.document_id for entry in await mine.list()) == ids
    first = await mine.page(after=None, limit=3)
    rest = await mine.page(after=first[-1].document_id, limit=3)
    assert sorted(entry.document_id for entry in [*first, *rest]) == ids
    # From where another tenant's list stands.
    assert {entry.title for entry in await mine.page(after="a2", limit=9)} == {"Ours"}


async def test_the_same_id_is_two_documents(database: Database) -> None:
    catalog = SqlDocumentCatalog(database)
    await _commit(catalog, FJELLVIK, "Ours")
    await _commit(catalog, VOLTBAY, "Theirs")
    claim = await catalog.of(FJELLVIK).begin("returns.md")
    assert await catalog.of(FJELLVIK).remove(claim)
    assert not await catalog.of(FJELLVIK).remove(claim)
    (left,) = await catalog.of(VOLTBAY).list()
    assert left.title == "Theirs"


async def test_begun_writes_stay_pending_until_finished(database: Database) -> None:
    catalog = SqlDocumentCatalog(database)
    mine = catalog.of(FJELLVIK)
    claim = await mine.begin("returns.md", "v1")
    await mine.begin("new.md", "w1")
    await mine.commit(_entry("Ours"), claim)
    assert await mine.unfinished("returns.md")
    pending = {
        write.claim.document_id: write for write in await catalog.take_over(OPERATOR, alone=True)
    }
    assert {name: write.committed for name, write in pending.items()} == {
        "returns.md": "v1",
        "new.md": None,
    }
    assert pending["returns.md"].claim.versions == {"v1"}
    assert pending["new.md"].claim.versions == {"w1"}
    assert pending["new.md"].tenant_id == TenantId("fjellvik")
    for write in pending.values():
        await catalog.settled(OPERATOR, write)
    assert await catalog.take_over(OPERATOR, alone=True) == []
    assert not await mine.unfinished("returns.md")


async def _commit(
    catalog: SqlDocumentCatalog, ctx: TenantContext, title: str, name: str = "returns.md"
) -> None:
    claim = await catalog.of(ctx).begin(name, "v1")
    await catalog.of(ctx).commit(_entry(title, name), claim)
    await catalog.of(ctx).finish(claim)
