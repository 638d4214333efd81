"""Embedding models across the border between LlamaIndex and the store."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from rag.embedding.minilm import MiniLmEmbedder
from rag.embedding.port import for_queries
from rag.errors import EmbeddingError, UnsafeCollectionError
from rag.llama_index.embedding import BulkheadEmbedding, LlamaIndexEmbedder, estimated_tokens
from tests.sdk.platforms import NAMES, library


class Words(BaseEmbedding):
    """Counts letters; long vectors, and questions are marked by their last number, as E5 does."""

    size: int = 27
    spoiled: float | None = None
    _batches: list[int] = PrivateAttr(default_factory=list)

    @property
    def batches(self) -> list[int]:
        return self._batches

    def _vector(self, text: str, mark: float) -> list[float]:
        if self.spoiled is not None and text != "dimension":
            return [self.spoiled] * self.size
        letters = [3.0 * text.lower().count(chr(97 + n)) for n in range(self.size - 1)]
        return [*letters, mark]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vector(text, 1.0)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        self._batches.append(len(texts))
        return [self._get_text_embedding(text) for text in texts]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vector(query, -1.0)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


@pytest.fixture(scope="module")
def minilm() -> Iterator[MiniLmEmbedder]:
    model = MiniLmEmbedder()
    yield model
    model.close()


async def test_vectors_have_unit_length_and_come_in_batches() -> None:
    model = Words(embed_batch_size=4)
    embedder = LlamaIndexEmbedder(model)
    vectors = await embedder.embed([f"text {n}" for n in range(10)])
    assert embedder.dimension == 27
    assert all(math.isclose(math.hypot(*vector), 1, rel_tol=1e-6) for vector in vectors)
    assert model.batches == [4, 4, 2]
    assert estimated_tokens("x" * 9) == embedder.count_tokens("x" * 9) == 3


async def test_questions_stay_questions() -> None:
    embedder = LlamaIndexEmbedder(Words())
    ((*_, passage),) = await embedder.embed(["text"])
    ((*_, asked),) = await for_queries(embedder).embed(["text"])
    assert passage > 0 > asked
    assert for_queries(for_queries(embedder)).dimension == embedder.dimension


@pytest.mark.parametrize("spoiled", [math.nan, math.inf, 0.0])
async def test_what_is_no_vector_is_refused(spoiled: float) -> None:
    embedder = LlamaIndexEmbedder(Words(spoiled=spoiled))
    for side in (embedder, embedder.queries):
        with pytest.raises(EmbeddingError):
            await side.embed(["text"])


async def test_the_event_loop_goes_on_meanwhile() -> None:
    loop = asyncio.get_running_loop()
    threads = set()

    class Slow(Words):
        def _get_text_embedding(self, text: str) -> list[float]:
            try:
                threads.add(asyncio.get_running_loop() is loop)
            except RuntimeError:
                threads.add(False)
            return super()._get_text_embedding(text)

    embedder = LlamaIndexEmbedder(Slow())
    threads.clear()
    await embedder.embed(["text"])
    assert threads == {False}


async def test_our_model_is_a_base_embedding(minilm: MiniLmEmbedder) -> None:
    model = BulkheadEmbedding(minilm)
    (expected,) = await minilm.embed(["returns"])
    for vector in (
        model.get_text_embedding("returns"),
        model.get_query_embedding("returns"),
        *model.get_text_embedding_batch(["returns"]),
        await model.aget_text_embedding("returns"),
        await model.aget_query_embedding("returns"),
        *await model.aget_text_embedding_batch(["returns"]),
    ):
        assert vector == pytest.approx(expected, abs=1e-6)
    assert model.model_name == minilm.name


async def test_there_and_back_is_the_same_model(minilm: MiniLmEmbedder) -> None:
    back = await asyncio.to_thread(LlamaIndexEmbedder, BulkheadEmbedding(minilm))
    ((expected,), (found,)) = [await one.embed(["returns"]) for one in (minilm, back)]
    assert found == pytest.approx(expected, abs=1e-6)
    assert (back.name, back.dimension) == (minilm.name, minilm.dimension)


def test_a_library_searches_with_any_model_and_two_tenants_stay_apart(tmp_path: Path) -> None:
    with library(tmp_path, Words()) as opened:
        bound = {name: opened.authenticate(f"session-of-{name}") for name in NAMES}
        for name, one in bound.items():
            one.put("note", f"The zebra of {name}.")
        for name, one in bound.items():
            (found,) = one.search("zebra")
            assert found.text.endswith(f"The zebra of {name}.")
    with pytest.raises(UnsafeCollectionError), library(tmp_path, Words(size=30)):
        pass
