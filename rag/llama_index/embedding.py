"""Embedding models across the border: LlamaIndex's as ours, ours as LlamaIndex's."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.async_utils import asyncio_run
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from rag.embedding.port import Embedder
from rag.errors import EmbeddingError

_CHARACTERS_A_TOKEN = 4


def estimated_tokens(text: str) -> int:
    """About four characters a token: for models whose tokenizer is not at hand."""
    return -(-len(text) // _CHARACTERS_A_TOKEN)


class LlamaIndexEmbedder:
    """Any `BaseEmbedding` as the store's embedding model, for passages; `queries` for questions.

    Models that embed a question in another way than a passage, as E5 and BGE do, keep doing so.
    Texts go in batches of the model's own `embed_batch_size`, on threads: off the event loop,
    whatever the model does. Vectors come out with unit length.
    """

    def __init__(
        self, model: BaseEmbedding, *, count_tokens: Callable[[str], int] = estimated_tokens
    ) -> None:
        """Embeds one text, to learn the dimension.

        Raises:
            EmbeddingError: what the model gives is no vector.
        """
        self._model = model
        self._count = count_tokens
        self.name: str = model.model_name
        kind = f"{model.class_name()}\0{model.model_name}"
        # A model behind an interface has no files to sum up: its kind and name must do.
        self.checksum = hashlib.sha256(kind.encode()).hexdigest()
        self.dimension = len(_unit(model.get_text_embedding("dimension")))
        self.queries: Embedder = _Queries(self)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Passages as vectors.

        Raises:
            EmbeddingError: the model gives too few, or none of the right size.
        """
        found = await asyncio.to_thread(self._model.get_text_embedding_batch, list(texts))
        return self.checked(found, len(texts))

    async def embed_queries(self, texts: Sequence[str]) -> list[list[float]]:
        """Questions as vectors."""
        found = await asyncio.to_thread(
            lambda: [self._model.get_query_embedding(text) for text in texts]
        )
        return self.checked(found, len(texts))

    def count_tokens(self, text: str) -> int:
        """As `count_tokens` of the constructor says."""
        return self._count(text)

    def close(self) -> None:
        """The model is its owner's."""

    def checked(self, vectors: Sequence[Sequence[float]], count: int) -> list[list[float]]:
        """Unit vectors of the one dimension, as many as there are texts."""
        units = [_unit(vector) for vector in vectors]
        if len(units) != count or any(len(unit) != self.dimension for unit in units):
            raise EmbeddingError
        return units


class _Queries:
    """The same model, as it embeds questions."""

    def __init__(self, passages: LlamaIndexEmbedder) -> None:
        self._passages = passages
        self.name = passages.name
        self.dimension = passages.dimension
        self.checksum = passages.checksum

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return await self._passages.embed_queries(texts)

    def count_tokens(self, text: str) -> int:
        return self._passages.count_tokens(text)

    def close(self) -> None:
        """With the model."""


class BulkheadEmbedding(BaseEmbedding):
    """One of our models, as the ONNX MiniLM, where LlamaIndex wants a `BaseEmbedding`."""

    _embedder: Embedder = PrivateAttr()

    def __init__(self, embedder: Embedder, **kwargs: Any) -> None:
        super().__init__(model_name=embedder.name, **kwargs)
        self._embedder = embedder

    @classmethod
    def class_name(cls) -> str:
        return "BulkheadEmbedding"

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = asyncio_run(self._embedder.embed(texts))
        return vectors

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._embedder.embed([text]))[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await self._aget_text_embedding(query)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await self._embedder.embed(texts)


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.hypot(*vector)
    if not vector or not math.isfinite(length) or length == 0:
        raise EmbeddingError
    return [float(number) / length for number in vector]
