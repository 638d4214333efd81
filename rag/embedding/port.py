"""The embedding's port. Text in, unit vectors out; it holds no tenant's state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Embedder(Protocol):
    """A sentence embedding model.

    It may have, beside this: `queries`, the same model for questions; `at_once`, how many calls it
    answers at the same time; `behind`, the model that answers in its place (`turns`).
    """

    @property
    def name(self) -> str:
        """The model's name, as callers of `/v1/embeddings` see it."""

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""

    @property
    def checksum(self) -> str:
        """Of the model's files: vectors of another one cannot be compared with these."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Unit-length vectors in the order of `texts`, computed off the event loop."""

    def count_tokens(self, text: str) -> int:
        """How many tokens of this model the text has, without special tokens."""

    def close(self) -> None:
        """Release the model."""


def for_queries(embedder: Embedder) -> Embedder:
    """The same model as it embeds questions, where it makes a difference (`queries`)."""
    queries: Embedder = getattr(embedder, "queries", embedder)
    return queries
