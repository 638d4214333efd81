"""Which embedding model: by the name of an installed one, or by where its factory is imported.

A package brings a model by an entry point of the group `bulkhead.embeddings`: a callable without
arguments that returns an `Embedder`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from isolation.errors import InvalidRequestError
from rag.embedding.minilm import MiniLmEmbedder
from rag.embedding.port import Embedder

GROUP = "bulkhead.embeddings"
DEFAULT = "minilm"


class UnknownEmbeddingError(InvalidRequestError):
    """There is no such embedding model here."""

    code = "embedding_not_found"


def installed(name: str) -> Embedder:
    """An installed model, by its name alone: what a caller over HTTP may ask for.

    Raises:
        UnknownEmbeddingError: there is none, or it cannot be loaded.
    """
    if name == DEFAULT:
        return MiniLmEmbedder()
    found = entry_points(group=GROUP).select(name=name)
    if not found:
        known = ", ".join(sorted({DEFAULT, *entry_points(group=GROUP).names}))
        raise UnknownEmbeddingError(f"No embedding model of this name is installed: {known}.")
    return _made(name, lambda: next(iter(found)).load())


def chosen(name: str) -> Embedder:
    """An installed model, or one by its import path `package.module:factory`: what a setting names.

    Raises:
        UnknownEmbeddingError: there is none, or it cannot be loaded.
    """
    module, colon, factory = name.partition(":")
    if not colon:
        return installed(name)
    return _made(name, lambda: getattr(import_module(module), factory))


def _made(name: str, load: Callable[[], object]) -> Embedder:
    try:
        factory = cast("Callable[[], Embedder]", load())
    except (ImportError, AttributeError):
        raise UnknownEmbeddingError(f"The embedding model {name} cannot be imported.") from None
    return factory()
