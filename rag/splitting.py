"""Documents into chunks. A heading stays with its text: every chunk begins with its heading path.

LlamaIndex's `MarkdownNodeParser` emits heading-only nodes and drops a node's own heading from its
path, so headings are carried here; its `SentenceSplitter` cuts what is inside one section.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from rag.documents import Chunk

if TYPE_CHECKING:
    from llama_index.core.node_parser import SentenceSplitter

_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*")
_FENCE = re.compile(r"\s*(```|~~~)")
# Characters of a section that are held at once: a table of 100,000 rows has one heading.
_LONG = 40_000


@dataclass(frozen=True, slots=True)
class Section:
    """Text under one heading path, outermost heading first."""

    path: tuple[str, ...]
    text: str


class Titled(Protocol):
    """What is split: a document, or what became of it."""

    @property
    def title(self) -> str:
        """Part of every chunk."""

    def lines(self) -> Iterator[str]:
        """The text's lines, with their ends."""


class Splitter:
    """Cuts documents into chunks of at most about `max_tokens` tokens of the embedding model."""

    def __init__(self, count_tokens: Callable[[str], int], *, max_tokens: int = 200) -> None:
        self._count_tokens = count_tokens
        self._max_tokens = max_tokens

    @cached_property
    def _sentences(self) -> SentenceSplitter:
        # Importing it takes seconds: a process that splits nothing goes without.
        from llama_index.core.node_parser import SentenceSplitter

        return SentenceSplitter(
            chunk_size=self._max_tokens,
            chunk_overlap=self._max_tokens // 10,
            tokenizer=lambda text: [0] * self._count_tokens(text),
        )

    def split(self, document: Titled) -> Iterator[Chunk]:
        """The document's chunks in order; at least one. They are made as they are asked for."""
        ordinal = 0
        for section in sections(document.lines()):
            for piece in self._sentences.split_text(section.text):
                yield Chunk(ordinal, _with_path(document.title, section.path, piece))
                ordinal += 1
        if not ordinal:
            yield Chunk(0, "".join(document.lines()))


def sections(lines: Iterable[str]) -> Iterator[Section]:
    """The text by its Markdown headings; what has no text under it is a path and no section.

    A long section comes in several, cut between lines.
    """
    path: list[tuple[int, str]] = []
    body: list[str] = []
    size = 0
    fenced = False
    for line in lines:
        line = line.rstrip("\r\n")
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.fullmatch(line)
        if heading is not None or size > _LONG:
            yield from _section(path, body)
            body, size = [], 0
        if heading is None:
            body.append(line)
            size += len(line) + 1
            continue
        level = len(heading[1])
        path = [(depth, title) for depth, title in path if depth < level]
        path.append((level, heading[2]))
    yield from _section(path, body)


def _section(path: list[tuple[int, str]], body: list[str]) -> Iterator[Section]:
    if text := "\n".join(body).strip():
        yield Section(tuple(title for _, title in path), text)


def _with_path(title: str, path: tuple[str, ...], text: str) -> str:
    names = path if path[:1] == (title,) else (title, *path)
    return f"{' > '.join(name for name in names if name)}\n{text}"
