"""Documents into chunks. A heading stays with its text: every chunk begins with its heading path.

LlamaIndex's `MarkdownNodeParser` emits heading-only nodes and drops a node's own heading from its
path, so headings are carried here; its `SentenceSplitter` cuts what is inside one section.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from rag.documents import Chunk
from rag.windows import windows

if TYPE_CHECKING:
    from llama_index.core.node_parser import SentenceSplitter

_FENCE = re.compile(r"\s*(```|~~~)")
# Characters of a section that are held at once: a table of 100,000 rows has one heading.
_LONG = 40_000
# Of a line: what is longer is cut, since what splits sentences holds the interpreter's lock.
_LINE = 8_000
# Of a heading: it stands in every chunk below it. What is longer is text.
_TITLE = 300
# Of a token, whatever the model's tokenizer says: it calls a word of a megabyte one.
_TOKEN = 20


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
        from llama_index.core.node_parser.text.utils import split_by_sentence_tokenizer

        return SentenceSplitter(
            chunk_size=self._max_tokens,
            chunk_overlap=self._max_tokens // 10,
            tokenizer=lambda text: [0] * max(self._count_tokens(text), len(text) // _TOKEN),
            chunking_tokenizer_fn=self._settled(split_by_sentence_tokenizer()),
        )

    def split(self, document: Titled) -> Iterator[Chunk]:
        """The document's chunks in order; at least one. They are made as they are asked for."""
        ordinal = 0
        for section in sections(document.lines()):
            for piece in self._pieces(section.text):
                yield Chunk(ordinal, _with_path(document.title, section.path, piece))
                ordinal += 1
        if not ordinal:
            yield Chunk(0, "".join(document.lines()))

    def _pieces(self, text: str) -> Sequence[str]:
        try:
            return self._sentences.split_text(text)
        except (RecursionError, TimeoutError, ValueError):
            # Of no language. Nothing of it is lost.
            return [piece for piece in windows(text, self._max_tokens) if piece.strip()]

    def _settled(self, sentences: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
        """`sentences`, of which none is one more and a rest, again and again: LlamaIndex asks anew
        for each rest, and "!?!?" of 10,000 characters would take it a minute."""

        def settled(text: str) -> list[str]:
            found = sentences(text)
            if len(found) == 1:
                return found
            return [piece for part in found for piece in self._parts(part, sentences)]

        return settled

    def _parts(self, part: str, sentences: Callable[[str], list[str]]) -> Sequence[str]:
        # A character is a token at most.
        if len(part) <= self._max_tokens or len(sentences(part)) == 1:
            return [part]
        return windows(part, self._max_tokens)


def sections(lines: Iterable[str]) -> Iterator[Section]:
    """The text by its Markdown headings; what has no text under it is a path and no section.

    A long section comes in several, cut between lines, and a long line in pieces, cut at spaces.
    """
    path: list[tuple[int, str]] = []
    body: list[str] = []
    size = 0
    fenced = False
    for line in lines:
        line = line.rstrip("\r\n")
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _heading(line)
        if heading is not None or size > _LONG:
            yield from _section(path, body)
            body, size = [], 0
        if heading is not None:
            path = [(depth, title) for depth, title in path if depth < heading[0]]
            path.append(heading)
            continue
        for piece in windows(line, _LINE) or [""]:
            if size > _LONG:
                yield from _section(path, body)
                body, size = [], 0
            body.append(piece)
            size += len(piece) + 1
    yield from _section(path, body)


def _heading(line: str) -> tuple[int, str] | None:
    """Level and text of a Markdown heading (CommonMark 0.31, 4.2)."""
    level = len(line) - len(line.lstrip("#"))
    if not 1 <= level <= 6 or not line[level : level + 1].isspace():
        return None
    title = line[level:].strip()
    without = title.rstrip("#")
    if not without or without[-1].isspace():
        title = without.rstrip()
    return (level, title) if 0 < len(title) <= _TITLE else None


def _section(path: list[tuple[int, str]], body: list[str]) -> Iterator[Section]:
    if text := "\n".join(body).strip():
        yield Section(tuple(title for _, title in path), text)


def _with_path(title: str, path: tuple[str, ...], text: str) -> str:
    names = path if path[:1] == (title,) else (title, *path)
    return f"{' > '.join(name for name in names if name)}\n{text}"
