"""Vectors and the model that made them. The two are replaced together or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field

from rag.embedding.port import Embedder
from rag.splitting import Splitter
from rag.store.port import VectorStore


@dataclass(frozen=True, slots=True)
class Generation:
    """A store, and the embedder of all its vectors: a question to one is embedded by the other."""

    store: VectorStore
    embedder: Embedder
    splitter: Splitter = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "splitter", Splitter(self.embedder.count_tokens))
