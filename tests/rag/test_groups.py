"""Documents of groups from ingestion to the catalogue, and keys of groups. What each way of reading
a store shows to whom is in the store contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from isolation.access import InvalidGroupError, restricted_to
from isolation.context import TenantContext
from isolation.errors import InvalidApiKeyError, RestrictedKeyError
from isolation.namespaces import CacheScope, NamespaceDeriver
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import Document
from rag.errors import DocumentNotFoundError
from rag.ingest import Ingestor
from rag.store.edge.store import EdgeVectorStore
from rag.store.port import HybridQuery
from serving.control.authentication import ApiKeyAuthenticator
from serving.control.catalog import SqlDocumentCatalog
from serving.control.database import Database
from serving.control.tenants import TenantRegistry
from tests.databases import fresh_database
from tests.gateway.fakes import Embedder

OWNER = tenant_for_tests("fjellvik")
FOREIGN = tenant_for_tests("voltbay", access=restricted_to(["vip"]))
QUERY = HybridQuery("returns", [1.0, 0.0])
# Near-identical but for the groups: whatever is relevant to one key is relevant to the other.
DOCUMENTS = {
    "public": frozenset[str](),
    "vip": frozenset({"vip"}),
    "staff": frozenset({"staff", "board"}),
}
SEEN_BY = {
    ("vip",): {"public", "vip"},
    ("staff",): {"public", "staff"},
    ("board", "vip"): {"public", "vip", "staff"},
    (): {"public"},
}


@dataclass
class Knowledge:
    database: Database
    store: EdgeVectorStore
    ingestor: Ingestor

    async def seen(self, ctx: TenantContext) -> list[set[str]]:
        """What each way of reading shows."""
        collection = self.store.of(ctx)
        listed = (await collection.list()).documents
        found = {p.document_id for p in await collection.search(QUERY, limit=50)}
        read = {name for name in DOCUMENTS if await collection.get(name)}
        catalogued = {entry.document_id for entry in await self.ingestor.of(ctx).list()}
        assert await collection.count() == len(found)
        return [found, read, {one.document_id for one in listed}, catalogued]


@pytest.fixture
async def knowledge(tmp_path: Path) -> AsyncGenerator[Knowledge, None]:
    database = await fresh_database(tmp_path / "bulkhead.db")
    store = EdgeVectorStore.open(tmp_path / "vectors", 2)
    ingestor = Ingestor(store, SqlDocumentCatalog(database), Embedder())
    registry = TenantRegistry(database)
    for ctx in (OWNER, FOREIGN):
        await registry.add(operator_for_tests(), ctx.tenant_id, "business")
    for name, groups in DOCUMENTS.items():
        text = f"Returns are accepted, says the {name} document."
        await ingestor.of(OWNER).ingest(Document(name, "Returns", text, groups=groups))
    yield Knowledge(database, store, ingestor)
    await store.close()
    await database.close()


@pytest.mark.parametrize("groups", SEEN_BY)
async def test_a_key_sees_its_groups_documents_and_no_others(
    knowledge: Knowledge, groups: tuple[str, ...]
) -> None:
    ctx = tenant_for_tests("fjellvik", access=restricted_to(groups))
    assert await knowledge.seen(ctx) == [SEEN_BY[groups]] * 4


async def test_an_unrestricted_key_sees_everything(knowledge: Knowledge) -> None:
    assert await knowledge.seen(OWNER) == [set(DOCUMENTS)] * 4


async def test_another_tenants_group_of_the_same_name_opens_nothing(knowledge: Knowledge) -> None:
    assert await knowledge.seen(FOREIGN) == [set()] * 4


async def test_a_restricted_key_writes_nothing_and_cannot_ask_what_it_may_not_see(
    knowledge: Knowledge,
) -> None:
    mine = knowledge.ingestor.of(tenant_for_tests("fjellvik", access=restricted_to(["vip"])))
    for name in ("staff", "unknown"):
        with pytest.raises(RestrictedKeyError):
            await mine.ingest(Document(name, "Mine now", "text"))
        with pytest.raises(RestrictedKeyError):
            await mine.delete(name)
        with pytest.raises(DocumentNotFoundError):
            await mine.get(name)


async def test_changed_groups_are_a_new_version(knowledge: Knowledge) -> None:
    text = "Returns are accepted, says the vip document."
    again = Document("vip", "Returns", text, groups=frozenset({"staff"}))
    assert (await knowledge.ingestor.of(OWNER).ingest(again)).status == "replaced"
    vip = tenant_for_tests("fjellvik", access=restricted_to(["vip"]))
    staff = tenant_for_tests("fjellvik", access=restricted_to(["staff"]))
    assert await knowledge.seen(vip) == [{"public"}] * 4
    assert await knowledge.seen(staff) == [{"public", "vip", "staff"}] * 4


async def test_a_deleted_documents_groups_are_gone(knowledge: Knowledge) -> None:
    await knowledge.ingestor.of(OWNER).delete("vip")
    text = "Returns are accepted by everybody."
    await knowledge.ingestor.of(OWNER).ingest(Document("vip", "Returns", text))
    nobody = tenant_for_tests("fjellvik", access=restricted_to([]))
    assert await knowledge.seen(nobody) == [{"public", "vip"}] * 4


async def test_a_keys_groups_come_from_the_database(knowledge: Knowledge) -> None:
    registry, operator = TenantRegistry(knowledge.database), operator_for_tests()
    keys = ApiKeyAuthenticator(knowledge.database)
    key = await registry.issue_key(operator, OWNER.tenant_id, groups=["vip", "board"])
    ctx = await keys.authenticate(key.text)
    assert ctx.access == restricted_to(["board", "vip"])
    full = await keys.authenticate((await registry.issue_key(operator, OWNER.tenant_id)).text)
    assert full.access.unrestricted
    await registry.revoke_key(operator, key.key_id)
    with pytest.raises(InvalidApiKeyError):
        await keys.authenticate(key.text)


@pytest.mark.parametrize("groups", [["*"], ["VIP"], [""], ["a" * 64], [f"g{n}" for n in range(33)]])
async def test_what_is_no_group_is_refused(knowledge: Knowledge, groups: list[str]) -> None:
    with pytest.raises(InvalidGroupError):
        await TenantRegistry(knowledge.database).issue_key(
            operator_for_tests(), OWNER.tenant_id, groups=groups
        )
    with pytest.raises(InvalidGroupError):
        await asyncio.to_thread(Document, "id", "T", "text", groups=frozenset(groups))


def test_keys_that_see_different_documents_share_no_prefix() -> None:
    deriver, scope = NamespaceDeriver(b"k" * 32), CacheScope("m", "t", "", "1")
    accesses = [["vip"], ["staff"], ["staff", "vip"], []]
    contexts = [tenant_for_tests("fjellvik", access=restricted_to(one)) for one in accesses]
    namespaces = [deriver.derive(ctx, scope) for ctx in (OWNER, *contexts)]
    assert len(set(namespaces)) == len(namespaces)
    same = tenant_for_tests("fjellvik", access=restricted_to(["vip", "staff"]))
    assert deriver.derive(same, scope) == namespaces[3]
