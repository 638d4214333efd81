"""The words of tools: what of a definition is text for the model and no name and no structure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_WORDS = frozenset(("title", "description", "default", "const", "enum", "examples", "$comment"))
_BY_NAME = frozenset(("properties", "$defs", "definitions", "dependentSchemas"))

Tools = list[dict[str, Any]]


def words_of(tools: Tools) -> list[str]:
    """All of them, in their order."""
    found: list[str] = []

    def take(word: str) -> str:
        found.append(word)
        return word

    _changed(tools, take)
    return found


def with_words(tools: Tools, words: Sequence[str]) -> Tools:
    """The tools with others in their place."""
    rest = iter(words)
    changed: Tools = _changed(tools, lambda _: next(rest))
    return changed


def _changed(node: Any, change: Callable[[str], str], words: bool = False) -> Any:
    if isinstance(node, str):
        return change(node) if words else node
    if isinstance(node, list):
        return [_changed(each, change, words) for each in node]
    if not isinstance(node, dict):
        return node
    return {name: _member(name, value, change, words) for name, value in node.items()}


def _member(name: str, value: Any, change: Callable[[str], str], words: bool) -> Any:
    if name in _BY_NAME and isinstance(value, dict) and not words:
        # A property may be called "description", and is a schema.
        return {own: _changed(schema, change) for own, schema in value.items()}
    return _changed(value, change, words or name in _WORDS)
