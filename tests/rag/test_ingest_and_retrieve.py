"""Documents in, passages out, on the real Qdrant Edge and the real MiniLM."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from isolation.errors import InvalidRequestError
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import Document
from rag.embedding.minilm import MiniLmEmbedder
from rag.errors import DocumentNotFoundError
from rag.ingest import Ingestor
from rag.retrieval.follow_up import Question
from rag.retrieval.retriever import Retriever
from rag.splitting import Splitter, sections
from rag.store.edge.collection import EdgeTenantCollection
from rag.store.edge.store import EdgeVectorStore
from tests.rag.catalog_in_memory import InMemoryCatalog

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
RETURNS = "# Returns\n\nUnused items can be sent back within {days} days.\n\n"
SHIPPING = "## Carrier\n\nWe ship every parcel with {carrier}.\n"


@pytest.fixture(scope="module")
def embedder() -> Iterator[MiniLmEmbedder]:
    embedder = MiniLmEmbedder()
    yield embedder
    embedder.close()


@dataclass
class Knowledge:
    store: EdgeVectorStore
    catalog: InMemoryCatalog
    ingestor: Ingestor
    retriever: Retriever


@pytest.fixture
async def knowledge(tmp_path: Path, embedder: MiniLmEmbedder) -> AsyncGenerator[Knowledge, None]:
    store = EdgeVectorStore.open(tmp_path / "edge", embedder.dimension)
    catalog = InMemoryCatalog()
    yield Knowledge(store, catalog, Ingestor(store, catalog, embedder), Retriever(store, embedder))
    await store.close()


def _document(days: int, carrier: str) -> Document:
    return Document("help.md", "Help", (RETURNS + SHIPPING).format(days=days, carrier=carrier))


async def _ingest_both(knowledge: Knowledge) -> None:
    await knowledge.ingestor.of(FJELLVIK).ingest(_document(30, "Fjord Post"))
    await knowledge.ingestor.of(VOLTBAY).ingest(_document(14, "Spark Express"))


async def test_the_same_question_finds_each_tenants_own_fact(knowledge: Knowledge) -> None:
    await _ingest_both(knowledge)
    for ctx, fact, foreign in ((FJELLVIK, "30 days", "14"), (VOLTBAY, "14 days", "30")):
        found = await knowledge.retriever.of(ctx).search(
            Question("Within how many days can I send items back?"), limit=5
        )
        assert fact in found[0].text
        assert foreign not in " ".join(passage.text for passage in found)


async def test_unchanged_is_left_alone_and_changed_is_replaced_whole(knowledge: Knowledge) -> None:
    mine = knowledge.ingestor.of(FJELLVIK)
    assert (await mine.ingest(_document(30, "Fjord Post"))).status == "created"
    version = (await mine.get("help.md")).version
    assert (await mine.ingest(_document(30, "Fjord Post"))).status == "unchanged"
    assert (await mine.get("help.md")).version == version
    assert (await mine.ingest(_document(45, "Fjord Post"))).status == "replaced"
    found = await knowledge.retriever.of(FJELLVIK).search(Question("return days"), limit=20)
    assert "45 days" in str(found)
    assert "30 days" not in str(found)


async def test_two_writers_of_one_document_leave_one_version(knowledge: Knowledge) -> None:
    mine = knowledge.ingestor.of(FJELLVIK)
    await asyncio.gather(*(mine.ingest(_document(days, "Fjord Post")) for days in range(10, 16)))
    versions = {p.version for p in await knowledge.store.of(FJELLVIK).get("help.md")}
    assert versions == {(await mine.get("help.md")).version}


async def test_a_deleted_document_is_gone_and_a_foreign_one_is_unknown(
    knowledge: Knowledge,
) -> None:
    await _ingest_both(knowledge)
    await knowledge.ingestor.of(FJELLVIK).delete("help.md")
    assert await knowledge.retriever.of(FJELLVIK).search(Question("return days"), limit=5) == []
    with pytest.raises(DocumentNotFoundError):
        await knowledge.ingestor.of(FJELLVIK).delete("help.md")
    assert await knowledge.retriever.of(VOLTBAY).search(Question("return days"), limit=5)


@pytest.mark.parametrize("step", ["stage", "publish"])
async def test_a_write_cut_short_leaves_exactly_one_version(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await _ingest_both(knowledge)

    async def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EdgeTenantCollection, step, cut)
        with pytest.raises(KeyboardInterrupt):
            await knowledge.ingestor.of(FJELLVIK).ingest(_document(60, "Fjord Post"))
    assert await knowledge.ingestor.reconcile(operator_for_tests()) == 1
    assert await knowledge.ingestor.reconcile(operator_for_tests()) == 0
    versions = {p.version for p in await knowledge.store.of(FJELLVIK).get("help.md")}
    committed = knowledge.catalog.entries[FJELLVIK.tenant_id, "help.md"].version
    assert versions == {committed}


async def test_a_blank_question_is_refused(knowledge: Knowledge) -> None:
    with pytest.raises(InvalidRequestError):
        await knowledge.retriever.of(FJELLVIK).search(Question(" \n"), limit=5)


async def test_the_embedding_knows_a_paraphrase_from_another_topic(
    embedder: MiniLmEmbedder,
) -> None:
    texts = ["How do I send an item back?", "What is your return policy?", "The tent is orange."]
    vectors = np.array(await embedder.embed(texts))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    paraphrase, unrelated = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert paraphrase > unrelated + 0.2


def test_headings_stay_with_their_text(embedder: MiniLmEmbedder) -> None:
    chunks = list(Splitter(embedder.count_tokens).split(_document(30, "Fjord Post")))
    assert [chunk.text.splitlines()[0] for chunk in chunks] == [
        "Help > Returns",
        "Help > Returns > Carrier",
    ]


def test_a_long_section_is_cut_and_nothing_is_lost(embedder: MiniLmEmbedder) -> None:
    sentences = [f"Sentence number {n} speaks of parcels and of boots." for n in range(100)]
    text = "# Long\n\n" + " ".join(sentences)
    chunks = list(Splitter(embedder.count_tokens).split(Document("long", "Long", text)))
    assert len(chunks) > 3
    together = " ".join(chunk.text for chunk in chunks)
    assert all(sentence in together for sentence in sentences)
    assert max(embedder.count_tokens(chunk.text) for chunk in chunks) <= 256


def test_a_comment_in_a_code_fence_is_no_heading() -> None:
    assert [s.path for s in sections(io.StringIO("# A\n\n```\n# not one\n```\n"))] == [("A",)]
