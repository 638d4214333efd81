"""Plain text and Markdown. LlamaIndex's `FlatReader` does not decode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import IO, Any

import yaml
from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document

from rag.errors import InvalidFilterError
from rag.filters import check_metadata
from rag.reading.encodings import encoding_of
from rag.reading.limits import ReadingLimits

# What a reader calls a title that stands in the file's properties: a heading goes before it.
PAGE_TITLE = "_page_title"
_BLOCK = 64_000
_FENCE = "---"


class TextReader(BaseReader):
    """Text as it is, in pieces: what stands in one line may stand in two of them."""

    def lazy_load_data(
        self, file: Path, limits: ReadingLimits, encoding: str | None = None
    ) -> Iterable[Document]:
        """The pieces, to be joined by nothing.

        Raises:
            UnicodeError: it is not text in an encoding that can be told.
        """
        with file.open(encoding=encoding_of(file, encoding), newline=None) as text:
            yield from map(piece, _blocks(text))


class MarkdownReader(BaseReader):
    """Markdown as it is, without its front matter: `title` is the title there, the other flat
    fields are metadata."""

    def lazy_load_data(
        self, file: Path, limits: ReadingLimits, encoding: str | None = None
    ) -> Iterable[Document]:
        """The pieces, to be joined by nothing; the first carries the metadata.

        Raises:
            UnicodeError: it is not text in an encoding that can be told.
            YAMLError: the front matter is broken.
            DocumentTooLargeError: the front matter is larger than the limit.
        """
        with file.open(encoding=encoding_of(file, encoding), newline=None) as text:
            first = text.readline(_BLOCK)
            if first.rstrip() == _FENCE:
                yield Document(text="", metadata=_front_matter(text, limits))
            else:
                yield piece(first)
            yield from map(piece, _blocks(text))


def piece(text: str) -> Document:
    """A part of a document, as LlamaIndex's readers give it."""
    return Document(text=text)


def _blocks(text: IO[str]) -> Iterator[str]:
    return iter(lambda: text.read(_BLOCK), "")


def _front_matter(text: IO[str], limits: ReadingLimits) -> dict[str, Any]:
    lines: list[str] = []
    size = 0
    for line in islice(iter(lambda: text.readline(_BLOCK), ""), limits.metadata):
        if line.rstrip() in (_FENCE, "..."):
            return _flat(yaml.load("".join(lines), _NoAliases))
        size += len(line)
        limits.check("metadata", size)
        lines.append(line)
    raise yaml.YAMLError("the front matter does not end")


class _NoAliases(yaml.SafeLoader):  # type: ignore[misc]  # it has no types
    """An alias stands for a copy, and copies of copies fill the memory."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def _flat(fields: object) -> dict[str, Any]:
    """What a filter can ask for; lists of words become one text, other nested values are left."""
    if not isinstance(fields, dict):
        return {}
    named = {str(key).lower().replace("-", "_"): _value(value) for key, value in fields.items()}
    return {key: value for key, value in named.items() if _askable(key, value)}


def _askable(key: str, value: Any) -> bool:
    try:
        check_metadata({key: value})
    except InvalidFilterError:
        return False
    return True


def _value(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return value
