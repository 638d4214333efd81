"""A tenant is deleted: nothing of it is left but the bill, and nothing of the other is touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from isolation.context import OperatorContext
from isolation.errors import InvalidApiKeyError, TenantSuspendedError
from isolation.keys import IssuedKey
from isolation.tenant_id import TenantId
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import Document
from rag.errors import StoreError
from rag.ingest import Ingestor
from rag.store import predicate
from rag.store.conditions import Every
from rag.store.edge.store import EdgeVectorStore
from rag.store.port import HybridQuery
from serving.control.authentication import ApiKeyAuthenticator
from serving.control.catalog import SqlDocumentCatalog
from serving.control.database import Database
from serving.control.deletion import Deleted, TenantDeletion
from serving.control.errors import TenantExistsError, TenantNotFoundError
from serving.control.tenants import TenantRegistry
from serving.control.usage import UsageLedger
from serving.errors import EngineUnavailableError
from tests.control.test_usage import record_of
from tests.gateway.fakes import Embedder

OPERATOR = operator_for_tests()
GONE, STAYS = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
QUERY = HybridQuery("returns", [1.0, 0.0])
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass
class Platform:
    database: Database
    store: EdgeVectorStore
    ingestor: Ingestor
    registry: TenantRegistry
    keys: dict[str, IssuedKey]

    @property
    def deletion(self) -> TenantDeletion:
        return TenantDeletion(self.registry, self.ingestor)

    async def everything_of_the_other_is_there(self) -> bool:
        found = await self.store.of(STAYS).search(QUERY, limit=10)
        listed = await self.ingestor.of(STAYS).list()
        ctx = await ApiKeyAuthenticator(self.database).authenticate(self.keys["voltbay"].text)
        return len(found) == len(listed) == 2 and ctx.tenant_id == "voltbay"


@pytest.fixture
async def platform(database: Database, tmp_path: Path) -> AsyncGenerator[Platform, None]:
    store = EdgeVectorStore.open(tmp_path / "vectors", 2)
    ingestor = Ingestor(store, SqlDocumentCatalog(database), Embedder())
    registry, keys = TenantRegistry(database), {}
    for ctx in (GONE, STAYS):
        await registry.add(OPERATOR, ctx.tenant_id, "business")
        keys[str(ctx.tenant_id)] = await registry.issue_key(OPERATOR, ctx.tenant_id)
        for number in range(2):
            text = f"Returns number {number} of {ctx.tenant_id}."
            await ingestor.of(ctx).ingest(Document(f"returns-{number}", "Returns", text))
    yield Platform(database, store, ingestor, registry, keys)
    await store.close()


async def test_nothing_is_left_but_the_bill(platform: Platform) -> None:
    ledger = UsageLedger(platform.database)
    ledger.start()
    await ledger.of(GONE).record(record_of("r1"))
    await ledger.flushed()
    deleted = await platform.deletion.delete(OPERATOR, GONE.tenant_id)
    assert deleted == Deleted(documents=2, keys=1)
    assert await platform.store.of(GONE).search(QUERY, limit=10) == []
    assert await platform.ingestor.of(GONE).list() == []
    with pytest.raises(InvalidApiKeyError):
        await ApiKeyAuthenticator(platform.database).authenticate(platform.keys["fjellvik"].text)
    assert [tenant.id for tenant in await platform.registry.list(OPERATOR)] == ["voltbay"]
    assert GONE.tenant_id in await ledger.totals(OPERATOR, EPOCH)
    assert await platform.everything_of_the_other_is_there()
    await ledger.close()


async def test_a_deletion_reaches_what_is_kept_in_memory(platform: Platform) -> None:
    forgotten: list[str] = []

    class Cache:
        def forget(self, operator: OperatorContext, tenant: TenantId) -> None:
            forgotten.append(tenant)

    deletion = platform.deletion
    deletion.reaches(Cache())
    await deletion.delete(OPERATOR, GONE.tenant_id)
    assert forgotten == ["fjellvik"]


async def test_a_deletion_is_not_done_before_the_engine_has_cleared_the_tenants_state(
    platform: Platform,
) -> None:
    class Kv:
        answers = False
        cleared: ClassVar[list[str]] = []

        async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
            if not self.answers:
                raise EngineUnavailableError
            self.cleared.append(tenant)

    deletion, kv = platform.deletion, Kv()
    deletion.clears(kv)
    with pytest.raises(EngineUnavailableError):
        await deletion.delete(OPERATOR, GONE.tenant_id)
    with pytest.raises(TenantSuspendedError):
        await ApiKeyAuthenticator(platform.database).authenticate(platform.keys["fjellvik"].text)
    kv.answers = True
    assert await deletion.resume(OPERATOR) == 1
    assert kv.cleared == ["fjellvik"]


async def test_a_deletion_that_forgets_the_tenant_is_caught(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicate, "everything_of", lambda tenant: Every(()))
    await platform.deletion.delete(OPERATOR, GONE.tenant_id)
    assert not await platform.everything_of_the_other_is_there()


async def test_its_id_is_never_given_again(platform: Platform) -> None:
    await platform.deletion.delete(OPERATOR, GONE.tenant_id)
    with pytest.raises(TenantExistsError):
        await platform.registry.add(OPERATOR, GONE.tenant_id, "business")
    for again in (
        platform.deletion.delete(OPERATOR, GONE.tenant_id),
        platform.registry.issue_key(OPERATOR, GONE.tenant_id),
        platform.registry.set_suspended(OPERATOR, GONE.tenant_id, False),
    ):
        with pytest.raises(TenantNotFoundError):
            await again


async def test_a_write_that_has_begun_does_not_land_behind_the_deletion(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding, go_on = asyncio.Event(), asyncio.Event()
    embed = platform.ingestor.generation.embedder.embed

    async def slowly(texts: Sequence[str]) -> list[list[float]]:
        embedding.set()
        await go_on.wait()
        return await embed(texts)

    monkeypatch.setattr(platform.ingestor.generation.embedder, "embed", slowly)
    late = platform.ingestor.of(GONE).ingest(Document("late", "Late", "Late returns."))
    writing = asyncio.create_task(late)
    await embedding.wait()
    deleting = asyncio.create_task(platform.deletion.delete(OPERATOR, GONE.tenant_id))
    await asyncio.sleep(0.05)
    with pytest.raises(TenantSuspendedError):
        await platform.ingestor.of(GONE).ingest(Document("later", "Later", "Later returns."))
    assert not deleting.done()
    go_on.set()
    await writing
    assert (await deleting).documents == 3
    assert await platform.store.of(GONE).search(QUERY, limit=10) == []


async def test_a_deletion_that_was_cut_short_shuts_out_and_is_finished_at_the_next_start(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise StoreError("still there")

    with monkeypatch.context() as patched:
        patched.setattr(platform.store, "purge", fails)
        with pytest.raises(StoreError):
            await platform.deletion.delete(OPERATOR, GONE.tenant_id)
    with pytest.raises(TenantSuspendedError):
        await ApiKeyAuthenticator(platform.database).authenticate(platform.keys["fjellvik"].text)
    assert await platform.deletion.resume(OPERATOR) == 1
    assert await platform.deletion.resume(OPERATOR) == 0
    assert await platform.store.of(GONE).search(QUERY, limit=10) == []
    assert await platform.everything_of_the_other_is_there()
