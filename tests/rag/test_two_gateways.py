"""Two gateways, one Qdrant server, one database: whoever writes, one whole version is left, and it
is the one that the catalogue names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from isolation.context import TenantContext
from isolation.errors import TenantSuspendedError
from isolation.testing.contexts import operator_for_tests
from rag.documents import Document
from rag.errors import DocumentBusyError, DocumentNotFoundError, StoreUnavailableError
from rag.ingest import Ingestor
from rag.store import predicate
from rag.store.server.collection import ServerTenantCollection
from rag.store.server.connection import ServerAddress
from rag.store.server.store import ServerVectorStore
from rag.testing.merchants import FJELLVIK, VOLTBAY
from serving.control.catalog import SqlDocumentCatalog
from serving.control.database import Database, utc_now
from serving.control.deletion import TenantDeletion
from serving.control.tables import PendingWriteRow
from serving.control.tenants import TenantRegistry
from serving.embedded.reconciling import Reconciling
from tests.databases import fresh_database
from tests.gateway.fakes import Embedder
from tests.rag.loopback import faults
from tests.rag.loopback.server import Loopback, loopback

OPERATOR = operator_for_tests()


def _document(text: str) -> Document:
    return Document("returns", "Returns", f"# One\n\nReturns {text}.\n\n# Two\n\nParcels {text}.")


@dataclass
class Gateways:
    server: Loopback
    database: Database
    stores: list[ServerVectorStore]
    ingestors: list[Ingestor]

    async def silence(self) -> None:
        """Time passes, in which no writer says anything."""
        past = utc_now() - timedelta(seconds=1)
        async with self.database.transaction() as session:
            await session.execute(update(PendingWriteRow).values(expires_at=past))

    async def is_whole(self, ctx: TenantContext = FJELLVIK) -> bool:
        """Whether the store shows just what the catalogue names, at both gateways."""
        for store, ingestor in zip(self.stores, self.ingestors, strict=True):
            chunks = await store.of(ctx).get("returns")
            try:
                entry = await ingestor.of(ctx).get("returns")
            except DocumentNotFoundError:
                return chunks == [] and await store.of(ctx).count() == 0
            if [one.version for one in chunks] != [entry.version] * entry.chunks:
                return False
        return True


@pytest.fixture
async def gateways(tmp_path: Path) -> AsyncGenerator[Gateways, None]:
    database = await fresh_database(tmp_path / "bulkhead.db")
    for ctx in (FJELLVIK, VOLTBAY):
        await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
    async with loopback() as server:
        address = ServerAddress(server.url)
        stores = [await ServerVectorStore.open(address, 2) for _ in range(2)]
        catalog = SqlDocumentCatalog(database)
        ingestors = [Ingestor(store, catalog, Embedder()) for store in stores]
        for ctx in (FJELLVIK, VOLTBAY):
            await ingestors[0].of(ctx).ingest(_document("at first"))
        yield Gateways(server, database, stores, ingestors)
        server.fault = None
        for store in stores:
            await store.close()
    await database.close()


async def test_both_write_the_same_document_and_one_whole_version_is_left(
    gateways: Gateways,
) -> None:
    writes = [
        gateways.ingestors[number % 2].of(FJELLVIK).ingest(_document(f"version {number}"))
        for number in range(12)
    ]
    done = await asyncio.gather(*writes, return_exceptions=True)
    assert all(not isinstance(one, Exception) or isinstance(one, DocumentBusyError) for one in done)
    assert await gateways.is_whole()
    assert await gateways.is_whole(VOLTBAY)


async def test_one_writes_while_the_other_deletes(gateways: Gateways) -> None:
    one, two = (ingestor.of(FJELLVIK) for ingestor in gateways.ingestors)
    for number in range(4):
        await asyncio.gather(
            one.ingest(_document(f"version {number}")),
            two.delete("returns"),
            return_exceptions=True,
        )
        assert await gateways.is_whole()


async def _paused(gateways: Gateways, monkeypatch: pytest.MonkeyPatch, step: str) -> Any:
    """The first gateway's write, standing still before `step`; call what is returned to go on."""
    reached, go = asyncio.Event(), asyncio.Event()
    honest = getattr(ServerTenantCollection, step)

    async def waiting(self: Any, *asked: Any, **more: Any) -> None:
        monkeypatch.setattr(ServerTenantCollection, step, honest)
        reached.set()
        await go.wait()
        await honest(self, *asked, **more)

    monkeypatch.setattr(ServerTenantCollection, step, waiting)
    slow = asyncio.create_task(gateways.ingestors[0].of(FJELLVIK).ingest(_document("slow")))
    await reached.wait()

    async def go_on() -> None:
        go.set()
        await asyncio.gather(slow, return_exceptions=True)

    return go_on


@pytest.mark.parametrize("step", ["stage", "publish"])
async def test_a_gateway_that_stood_still_does_no_harm_when_it_goes_on(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Its claim has run out, the other one took over and finished; then it wakes."""
    go_on = await _paused(gateways, monkeypatch, step)
    await gateways.silence()
    await gateways.ingestors[1].of(FJELLVIK).ingest(_document("quick"))
    await go_on()
    assert await gateways.is_whole()
    assert "quick" in (await gateways.stores[0].of(FJELLVIK).get("returns"))[0].text


async def test_a_publication_that_deletes_all_others_is_caught(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: what the slow one publishes late takes the newer version with it."""
    honest = predicate.replaced_by

    def all_others(tenant: Any, document: str, version: str, _: Collection[str] | None) -> Any:
        return honest(tenant, document, version)

    monkeypatch.setattr(predicate, "replaced_by", all_others)
    go_on = await _paused(gateways, monkeypatch, "publish")
    await gateways.silence()
    await gateways.ingestors[1].of(FJELLVIK).ingest(_document("quick"))
    await go_on()
    assert not await gateways.is_whole()


@pytest.mark.parametrize("step", ["stage", "publish"])
async def test_what_a_dead_gateway_left_is_finished_by_another_one(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def killed(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    dead, alive = gateways.ingestors
    with monkeypatch.context() as patch:
        patch.setattr(ServerTenantCollection, step, killed)
        patch.setattr("serving.control.catalog._SqlTenantCatalog.let_go", killed)
        with pytest.raises(asyncio.CancelledError):
            await dead.of(FJELLVIK).ingest(_document("last words"))
    assert await alive.reconcile(OPERATOR, alone=False) == 0  # it may be alive yet
    await gateways.silence()
    reconciling = Reconciling(alive, OPERATOR, every=0.01)
    reconciling.start()
    while await SqlDocumentCatalog(gateways.database).of(FJELLVIK).unfinished("returns"):
        await asyncio.sleep(0.01)
    await reconciling.close()
    assert await gateways.is_whole()


async def test_an_unchanged_document_is_shown_before_it_is_called_so(gateways: Gateways) -> None:
    """The commit was done, but the store was away when the version was to be shown."""
    mine = gateways.ingestors[0].of(FJELLVIK)
    gateways.server.fault = faults.on("/batch", faults.status(503))
    with pytest.raises(StoreUnavailableError):
        await mine.ingest(_document("second"))
    with pytest.raises(StoreUnavailableError):
        await mine.ingest(_document("second"))
    gateways.server.fault = None
    assert (await mine.ingest(_document("second"))).status == "unchanged"
    assert await gateways.is_whole()
    assert "second" in (await gateways.stores[1].of(FJELLVIK).get("returns"))[0].text


async def test_a_tenants_deletion_waits_for_the_other_gateways_writes(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = await _paused(gateways, monkeypatch, "stage")
    deletion = TenantDeletion(TenantRegistry(gateways.database), gateways.ingestors[1])
    deleting = asyncio.create_task(deletion.delete(OPERATOR, FJELLVIK.tenant_id))
    while not await TenantRegistry(gateways.database).deleting(OPERATOR):
        await asyncio.sleep(0.01)
    with pytest.raises(TenantSuspendedError):
        await gateways.ingestors[0].of(FJELLVIK).ingest(Document("other", "O", "text"))
    await asyncio.sleep(0.3)
    assert not deleting.done()
    await go_on()
    await deleting
    assert await gateways.stores[0].of(FJELLVIK).count() == 0
    assert await gateways.is_whole(VOLTBAY)
