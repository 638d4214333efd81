"""Generations: one answers, another is filled and takes its place, and nothing is lost between."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from evals.performance.hashed_embedder import HashedEmbedder
from isolation.context import TenantContext
from isolation.sealing import TenantCipher
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import Document
from rag.errors import StoreError, UnsafeCollectionError
from rag.generation import Generation
from rag.ingest import Ingestor
from rag.live import LiveRetriever
from rag.reembed import Progress, Reembedding
from rag.retrieval.follow_up import Question
from rag.retrieval.retriever import Retriever
from rag.store.edge import generations as layout
from rag.store.edge.collection import EdgeTenantCollection
from rag.store.edge.generations import EdgeGenerations
from rag.store.edge.store import EdgeVectorStore
from rag.store.generations import MadeWith
from rag.store.sealed import SealedVectorStore
from tests.rag.catalog_in_memory import InMemoryCatalog

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
OLD, NEW = MadeWith("old", 4, "a"), MadeWith("new", 8, "b")


class Keys:
    async def cipher(self, ctx: TenantContext) -> TenantCipher:
        return TenantCipher(ctx.tenant_id, b"k" * 32)


async def test_the_first_open_makes_a_generation_and_the_next_one_finds_it(tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    await (await EdgeGenerations(folder).open(OLD)).close()
    assert (folder / "current").read_text() == "0001\n"
    manifest = json.loads((folder / "0001" / "manifest.json").read_text())
    assert (manifest["model"], manifest["dimension"], manifest["checksum"]) == ("old", 4, "a")
    await (await EdgeGenerations(folder).open(OLD)).close()
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["0001"]


@pytest.mark.parametrize("made", [NEW, MadeWith("old", 4, "other weights")])
async def test_another_models_vectors_are_refused_with_the_way_out(
    tmp_path: Path, made: MadeWith
) -> None:
    await (await EdgeGenerations(tmp_path).open(OLD)).close()
    with pytest.raises(UnsafeCollectionError, match="bulkhead reembed"):
        await EdgeGenerations(tmp_path).open(made)


async def test_another_engines_vectors_are_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await EdgeGenerations(tmp_path).open(OLD)).close()
    monkeypatch.setattr(layout, "version", lambda _: "99.0")
    with pytest.raises(UnsafeCollectionError, match=r"qdrant-edge-py==0"):
        await EdgeGenerations(tmp_path).open(OLD)


@pytest.mark.parametrize("cut", ["none", "before_rename", "after_rename", "before_last"])
async def test_a_plain_shard_becomes_the_first_generation_even_after_a_kill(
    tmp_path: Path, cut: str
) -> None:
    folder, moving = tmp_path / "vectors", tmp_path / "vectors.adopting"
    store = EdgeVectorStore.open(folder, 4)
    await (
        Ingestor(store, InMemoryCatalog(), HashedEmbedder(4))
        .of(FJELLVIK)
        .ingest(Document("a", "A", "Returns within 30 days."))
    )
    await store.close()
    if cut != "none":
        (moving / "0001").mkdir(parents=True)
    if cut in ("after_rename", "before_last"):
        folder.rename(moving / "0001" / "shard")
    if cut == "before_last":
        (moving / "current").write_text("0001\n")
    adopted = await EdgeGenerations(folder).open(OLD)
    assert await adopted.of(FJELLVIK).count() == 1
    assert not moving.exists()
    await adopted.close()


async def test_what_a_kill_left_is_gone_on_with_or_dropped(tmp_path: Path) -> None:
    generations = EdgeGenerations(tmp_path)
    await (await generations.open(OLD)).close()
    await (await generations.fill(OPERATOR, NEW, resume=True)).close()
    marker = tmp_path / "0002" / "marker"
    marker.touch()
    again = EdgeGenerations(tmp_path)
    await (await again.open(OLD)).close()
    await (await again.fill(OPERATOR, NEW, resume=True)).close()
    assert marker.exists()
    await (await again.fill(OPERATOR, NEW, resume=False)).close()
    assert not marker.exists()
    shutil.rmtree(tmp_path / "0002" / "shard")  # half made
    (tmp_path / "0002" / "manifest.json").unlink()
    await (await again.fill(OPERATOR, NEW, resume=True)).close()


async def test_a_tenants_deletion_drops_what_was_left_unfinished(tmp_path: Path) -> None:
    generations = EdgeGenerations(tmp_path)
    await (await generations.open(OLD)).close()
    await (await generations.fill(OPERATOR, NEW, resume=True)).close()
    EdgeGenerations(tmp_path).forget(OPERATOR, FJELLVIK.tenant_id)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0001", "current"]


class SlowEmbedder(HashedEmbedder):
    """Gives others their turn, as a real one does."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        await asyncio.sleep(0.002)
        return await super().embed(texts)


@dataclass
class Knowledge:
    generations: EdgeGenerations
    catalog: InMemoryCatalog
    ingestor: Ingestor
    live: LiveRetriever

    async def texts(self, ctx: TenantContext) -> set[str]:
        found = await self.live.of(ctx).search(Question("returns within days"), limit=50)
        return {passage.text.splitlines()[-1] for passage in found}

    async def reembed(self, embedder: HashedEmbedder) -> Generation:
        made = MadeWith(embedder.name, embedder.dimension, embedder.checksum)
        shard = await self.generations.fill(OPERATOR, made, resume=True)
        target = Generation(SealedVectorStore(shard, Keys()), embedder)

        async def switch() -> None:
            await self.generations.switch(OPERATOR)
            self.ingestor.generation = target
            await self.live.switch(target)

        async def tenants() -> list[str]:
            return [FJELLVIK.tenant_id, VOLTBAY.tenant_id]

        filling = Reembedding(
            *(self.ingestor, self.catalog, target, tenants),
            *(lambda tenant: tenant_for_tests(tenant), False, Progress()),
        )
        last = self.ingestor.generation
        try:
            await filling.run(OPERATOR, switch)
        except BaseException:
            await target.store.close()
            raise
        await last.store.close()
        await self.generations.drop_others(OPERATOR)
        return target


@pytest.fixture
async def knowledge(tmp_path: Path) -> AsyncGenerator[Knowledge, None]:
    embedder = SlowEmbedder(4, "old")
    generations = EdgeGenerations(tmp_path / "vectors")
    store = await generations.open(MadeWith("old", 4, embedder.checksum))
    generation = Generation(SealedVectorStore(store, Keys()), embedder)
    catalog = InMemoryCatalog()
    ingestor = Ingestor(generation.store, catalog, embedder)
    ingestor.generation = generation
    live = LiveRetriever(generation, lambda made: Retriever(made.store, made.embedder))
    for ctx, days in ((FJELLVIK, 30), (VOLTBAY, 14)):
        for number in range(20):
            text = f"Returns within {days} days, {number}."
            await ingestor.of(ctx).ingest(Document(f"d{number}", "Returns", text))
    knowledge = Knowledge(generations, catalog, ingestor, live)
    yield knowledge
    await knowledge.ingestor.generation.store.close()


async def test_all_is_there_after_a_switch_and_each_tenants_own(knowledge: Knowledge) -> None:
    before = {ctx.tenant_id: await knowledge.texts(ctx) for ctx in (FJELLVIK, VOLTBAY)}
    await knowledge.reembed(SlowEmbedder(8, "new"))
    for ctx, foreign in ((FJELLVIK, "14 days"), (VOLTBAY, "30 days")):
        assert await knowledge.texts(ctx) == before[ctx.tenant_id]
        assert len(before[ctx.tenant_id]) == 20
        assert foreign not in str(await knowledge.texts(ctx))
    assert knowledge.live.embedder.dimension == 8
    with pytest.raises(UnsafeCollectionError):
        await EdgeGenerations(knowledge.generations._folder).open(OLD)


async def test_what_is_written_and_deleted_meanwhile_is_there_and_gone(
    knowledge: Knowledge,
) -> None:
    mine, reembedding = (
        knowledge.ingestor.of(FJELLVIK),
        asyncio.ensure_future(knowledge.reembed(SlowEmbedder(8, "new"))),
    )
    searches = 0
    for number in range(20):
        await mine.ingest(Document(f"new{number}", "New", f"Returns within 45 days, new {number}."))
        await mine.ingest(Document("d1", "Returns", f"Returns within 60 days, again {number}."))
        if number < 5:
            await mine.delete(f"d{number + 10}")
        assert await knowledge.texts(FJELLVIK)
        assert "30 days" not in str(await knowledge.texts(VOLTBAY))
        searches += 1
    await reembedding
    await mine.ingest(Document("last", "Last", "Returns within 90 days, last."))
    texts = await knowledge.texts(FJELLVIK)
    kept = {f"Returns within 30 days, {n}." for n in range(20) if n not in (1, *range(10, 15))}
    new = {f"Returns within 45 days, new {n}." for n in range(20)}
    assert texts == kept | new | {
        "Returns within 60 days, again 19.",
        "Returns within 90 days, last.",
    }
    assert searches == 20


async def test_a_write_that_began_before_the_switch_lands_behind_it(knowledge: Knowledge) -> None:
    writing, go_on = asyncio.Event(), asyncio.Event()

    class Waiting(SlowEmbedder):
        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            writing.set()
            await go_on.wait()
            return await super().embed(texts)

    now = knowledge.ingestor.generation
    knowledge.ingestor.generation = Generation(now.store, Waiting(4, "old"))
    late = asyncio.ensure_future(
        knowledge.ingestor.of(FJELLVIK).ingest(Document("late", "Late", "Returns: late."))
    )
    await writing.wait()
    await knowledge.reembed(SlowEmbedder(8, "new"))
    assert not late.done()
    go_on.set()
    assert (await late).status == "created"
    assert "Returns: late." in await knowledge.texts(FJELLVIK)


async def test_a_copy_that_is_not_complete_is_not_switched_to(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = EdgeTenantCollection.count

    async def one_missing(collection: EdgeTenantCollection) -> int:
        return await count(collection) - 1

    before = await knowledge.texts(FJELLVIK)
    with monkeypatch.context() as patched:
        patched.setattr(EdgeTenantCollection, "count", one_missing)
        with pytest.raises(StoreError, match="not complete"):
            await knowledge.reembed(SlowEmbedder(8, "new"))
    assert await knowledge.texts(FJELLVIK) == before
    await knowledge.reembed(SlowEmbedder(8, "new"))
    assert await knowledge.texts(FJELLVIK) == before
