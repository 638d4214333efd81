"""Retrieval's own boundaries on the real store: two tenants, the same ids, versions and places."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path

import pytest

from isolation.access import Access
from isolation.context import TenantContext
from isolation.errors import CrossTenantError
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Chunk, DocumentVersion, EmbeddedChunk, Passage, Stretch
from rag.embedding.minilm import MiniLmEmbedder
from rag.retrieval.follow_up import Question
from rag.retrieval.relevance import relevance
from rag.retrieval.retriever import Retriever
from rag.store import predicate
from rag.store.conditions import Every
from rag.store.edge.store import EdgeVectorStore
from rag.store.point_ids import point_id

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
OTHER = {FJELLVIK: "Spark Express", VOLTBAY: "Fjord Post"}
ASKED = Question("Who brings the parcels?")
STRETCH = Stretch("help", "v1", 0, 9)


def _sections(carrier: str, days: int) -> list[str]:
    return [
        f"Help > Parcels\nParcels are brought by {carrier}.",
        f"Help > Parcels\nThey take {days} days, and you are told by mail.",
        f"Help > Returns\nReturns within {days} days.",
    ]


@pytest.fixture(scope="module")
def embedder() -> Iterator[MiniLmEmbedder]:
    embedder = MiniLmEmbedder()
    yield embedder
    embedder.close()


async def _put(
    store: EdgeVectorStore,
    embedder: MiniLmEmbedder,
    ctx: TenantContext,
    texts: Sequence[str],
    document: str = "help",
    groups: frozenset[str] = frozenset(),
) -> None:
    vectors = await embedder.embed(texts)
    chunks = [
        EmbeddedChunk(Chunk(n, text), vector)
        for n, (text, vector) in enumerate(zip(texts, vectors, strict=True))
    ]
    # The same version in both tenants: only the tenant tells the points apart.
    await store.of(ctx).upsert(DocumentVersion(document, "v1", "Help", groups=groups), chunks)


@pytest.fixture
async def store(tmp_path: Path, embedder: MiniLmEmbedder) -> AsyncGenerator[EdgeVectorStore, None]:
    store = EdgeVectorStore.open(tmp_path / "edge", embedder.dimension)
    await _put(store, embedder, FJELLVIK, _sections("Fjord Post", 3))
    await _put(store, embedder, VOLTBAY, _sections("Spark Express", 2))
    yield store
    await store.close()


async def _leaks(store: EdgeVectorStore, embedder: MiniLmEmbedder) -> bool:
    """Whether a search of one tenant brings, or a read fetches, anything of the other."""
    try:
        for ctx, foreign in OTHER.items():
            found = await Retriever(store, embedder).of(ctx).search(ASKED, limit=1)
            assert found, "a tenant finds its own"
            if foreign in str(found) + str(await store.of(ctx).read([STRETCH])):
                return True
    except CrossTenantError:
        return True
    return False


def _forget_the_predicate(monkeypatch: pytest.MonkeyPatch) -> None:
    right = predicate.chunks_of
    monkeypatch.setattr(predicate, "chunks_of", lambda *given: Every(right(*given).parts[1:]))


def _name_the_others_points(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {FJELLVIK.tenant_id: VOLTBAY.tenant_id, VOLTBAY.tenant_id: FJELLVIK.tenant_id}
    monkeypatch.setattr(
        "rag.store.edge.collection.point_id", lambda tenant, *parts: point_id(other[tenant], *parts)
    )


async def test_a_chunk_is_made_whole_from_its_own_tenants_neighbours(
    store: EdgeVectorStore, embedder: MiniLmEmbedder
) -> None:
    (found,) = await Retriever(store, embedder).of(FJELLVIK).search(ASKED, limit=1)
    assert found.text == (
        "Help > Parcels\nParcels are brought by Fjord Post. "
        "They take 3 days, and you are told by mail."
    )
    assert not await _leaks(store, embedder)


async def test_either_line_holds_without_the_other(
    store: EdgeVectorStore, embedder: MiniLmEmbedder
) -> None:
    """Ids that no other tenant can name, and the predicate: neighbours are fetched by both."""
    for line in (_forget_the_predicate, _name_the_others_points):
        with pytest.MonkeyPatch.context() as patched:
            line(patched)
            assert not await _leaks(store, embedder)


async def test_a_twin_that_forgets_the_tenant_when_it_fetches_neighbours_is_caught(
    store: EdgeVectorStore, embedder: MiniLmEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    _forget_the_predicate(monkeypatch)
    _name_the_others_points(monkeypatch)
    assert await _leaks(store, embedder)


async def test_a_twin_that_also_forgets_whose_the_payload_is_is_caught_where_they_meet(
    store: EdgeVectorStore, embedder: MiniLmEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    _forget_the_predicate(monkeypatch)
    _name_the_others_points(monkeypatch)
    monkeypatch.setattr("rag.store.payload.require_same_tenant", lambda *_: None)
    with pytest.raises(CrossTenantError):
        await Retriever(store, embedder).of(FJELLVIK).search(ASKED, limit=1)


async def test_a_read_of_nothing_reads_nothing(store: EdgeVectorStore) -> None:
    assert await store.of(FJELLVIK).read([]) == []
    assert await store.of(FJELLVIK).read([Stretch("help", "v2", 0, 9)]) == []


async def test_a_restricted_key_reads_no_neighbour_of_a_document_it_may_not_see(
    store: EdgeVectorStore, embedder: MiniLmEmbedder
) -> None:
    texts = _sections("Fjord Post", 3)
    await _put(store, embedder, FJELLVIK, texts, "internal", frozenset({"staff"}))
    stretch = Stretch("internal", "v1", 0, 9)
    restricted = tenant_for_tests(
        "fjellvik", access=Access(unrestricted=False, groups=frozenset({"customers"}))
    )
    assert len(await store.of(FJELLVIK).read([stretch])) == 3
    assert await store.of(restricted).read([stretch]) == []


async def test_the_other_tenants_documents_do_not_move_relevance(
    store: EdgeVectorStore, embedder: MiniLmEmbedder
) -> None:
    question = Question("Which lantern has the return code QX7731?")
    mine = Retriever(store, embedder).of(FJELLVIK)
    before = relevance(question, await mine.search(question, limit=3))
    answer = ["Lanterns\nThe lantern has the return code QX7731."]
    await _put(store, embedder, VOLTBAY, answer, "lantern")
    assert relevance(question, await mine.search(question, limit=3)) == before
    theirs = await Retriever(store, embedder).of(VOLTBAY).search(question, limit=3)
    # The control: to whom the document belongs, it is relevant.
    assert relevance(question, theirs) > before + 0.2


async def test_a_copy_in_another_document_is_shown_once(
    store: EdgeVectorStore, embedder: MiniLmEmbedder
) -> None:
    await _put(store, embedder, FJELLVIK, _sections("Fjord Post", 3), "copy")
    found = await Retriever(store, embedder).of(FJELLVIK).search(ASKED, limit=10)
    assert str(found).count("Fjord Post") == 1


class Reversed:
    """A reranker; `adds` is what it gives back beside what it was given."""

    def __init__(self, *adds: Passage) -> None:
        self.adds = adds

    async def rerank(
        self, ctx: TenantContext, question: str, passages: Sequence[Passage]
    ) -> list[Passage]:
        return [*reversed(passages), *self.adds]


async def test_a_reranker_orders_and_adds_nothing(
    store: EdgeVectorStore, embedder: MiniLmEmbedder
) -> None:
    plain = await Retriever(store, embedder).of(FJELLVIK).search(ASKED, limit=1)
    turned = await Retriever(store, embedder, Reversed()).of(FJELLVIK).search(ASKED, limit=1)
    assert turned != plain
    (foreign,) = await Retriever(store, embedder).of(VOLTBAY).search(ASKED, limit=1)
    with pytest.raises(CrossTenantError):
        await Retriever(store, embedder, Reversed(foreign)).of(FJELLVIK).search(ASKED, limit=1)
