"""The embedding model is shared: a question waits for a few texts of another tenant's document, and
not for a batch of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.performance.hashed_embedder import HashedEmbedder
from isolation.context import TenantContext
from isolation.testing.contexts import tenant_for_tests
from rag import pipeline
from rag.documents import Document
from rag.embedding import turns
from rag.embedding.batches import CHARACTERS, TEXTS, batches
from rag.embedding.minilm import MiniLmEmbedder
from rag.embedding.port import Embedder
from rag.embedding.turns import InTurn, line_before
from rag.generation import Generation
from rag.retrieval.follow_up import Question
from rag.retrieval.retriever import Retriever
from rag.store.edge.store import EdgeVectorStore
from tests.turns import give_no_turns

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
CHUNKS = 600
Measured = Callable[[TenantContext], Awaitable[int]]
ASKED = "How long may I return?"


class OneThread(HashedEmbedder):
    """As the model on this CPU: one call after the other, in the order of asking."""

    at_once = 1

    def __init__(self) -> None:
        super().__init__(8)
        self.had: list[str] = []
        self._thread = asyncio.Lock()

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        async with self._thread:
            for text in texts:
                self.had.append(text)
                await asyncio.sleep(0)
            return await super().embed(texts)


@pytest.fixture
async def waited(tmp_path: Path) -> AsyncGenerator[Measured, None]:
    """How many texts are embedded between a tenant's asking and its turn, while another one's
    document comes in."""
    model, store = OneThread(), EdgeVectorStore.open(tmp_path / "edge", 8)
    sections = "".join(f"## Part {n}\n\nText number {n}.\n\n" for n in range(CHUNKS))

    async def comes_in() -> int:
        generation = Generation(store, model)
        batches = pipeline.embedded(FJELLVIK, Document("d", "D", sections), generation)
        return sum([len(batch) async for batch in batches])

    async def measured(ctx: TenantContext) -> int:
        coming = asyncio.create_task(comes_in())
        while not model.had:
            await asyncio.sleep(0)
        before = len(model.had)
        await Retriever(store, model).of(ctx).query(Question(ASKED))
        between = model.had.index(ASKED) - before
        assert await coming == CHUNKS
        assert (line_before(model).waiting, line_before(model).free) == (0, 1)
        return between

    yield measured
    await store.close()


async def test_a_question_waits_for_one_step_of_anothers_document(waited: Measured) -> None:
    assert await waited(VOLTBAY) <= 2 * TEXTS


async def test_without_turns_it_waits_for_a_batch(
    waited: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leaky twin."""

    def shared(ctx: TenantContext, model: Embedder) -> Embedder:
        return model

    monkeypatch.setattr(pipeline, "InTurn", shared)
    monkeypatch.setattr("rag.retrieval.retriever.InTurn", shared)
    assert await waited(VOLTBAY) >= pipeline.BATCH - TEXTS


async def test_steps_alone_do_not_help_against_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """With twenty documents of one tenant, it is the turns that do; the other twin has none."""

    async def texts_before(model: OneThread) -> int:
        own = [[f"{doc} {n}" for n in range(4 * TEXTS)] for doc in range(20)]
        tasks = [asyncio.create_task(InTurn(FJELLVIK, model).embed(texts)) for texts in own]
        while len(model.had) < 3 * TEXTS:
            await asyncio.sleep(0)
        before = len(model.had)
        await InTurn(VOLTBAY, model).embed([ASKED])
        await asyncio.gather(*tasks)
        return model.had.index(ASKED) - before

    assert await texts_before(OneThread()) <= 2 * TEXTS

    give_no_turns(monkeypatch)
    assert await texts_before(OneThread()) > 10 * TEXTS


async def test_vectors_are_those_of_the_model_in_the_order_of_the_texts() -> None:
    model = MiniLmEmbedder()
    texts = ["word " * (1 + 7 * n % 40) + str(n) for n in range(40)]
    assert await InTurn(VOLTBAY, model).embed(texts) == await model.embed(texts)
    assert await InTurn(VOLTBAY, model).embed([]) == []
    model.close()


@given(st.lists(st.integers(0, 2_000), max_size=80))
def test_batches_hold_each_text_once_and_no_more_than_fits(lengths: list[int]) -> None:
    texts = ["x" * length for length in lengths]
    found = list(batches(texts))
    assert sorted(index for batch in found for index in batch) == list(range(len(texts)))
    for batch in found:
        longest = max(len(texts[index]) for index in batch)
        assert len(batch) == 1 or (len(batch) <= TEXTS and len(batch) * longest <= CHARACTERS)


async def test_questions_are_embedded_as_the_model_embeds_questions() -> None:
    class Two(HashedEmbedder):
        queries = HashedEmbedder(8, "queries")

    model = Two(8, "passages")
    bound = InTurn(VOLTBAY, model)
    assert await bound.queries.embed([ASKED]) == await model.queries.embed([ASKED])
    assert bound.queries.name == "queries"
    alone = InTurn(VOLTBAY, HashedEmbedder(8))
    assert alone.queries is alone


async def test_a_model_has_one_line_whoever_asks_it() -> None:
    model = OneThread()
    assert line_before(model) is line_before(model)
    assert line_before(OneThread()) is not line_before(model)

    class Now(HashedEmbedder):
        behind = model

    assert line_before(Now(8)) is line_before(model)
    assert line_before(HashedEmbedder(8)).free == turns._AT_ONCE
