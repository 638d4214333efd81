"""Documents into chunks. A heading stays with its text: every chunk begins with its heading path.

LlamaIndex's `MarkdownNodeParser` emits heading-only nodes and drops a node's own heading from its
path, so headings are carried here; its `SentenceSplitter` cuts what is inside one section.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from llama_index.core.node_parser import SentenceSplitter

from rag.documents import Chunk, Document

_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*")
_FENCE = re.compile(r"\s*(```|~~~)")


@dataclass(frozen=True, slots=True)
class Section:
    """Text under one heading path, outermost heading first."""

    path: tuple[str, ...]
    text: str


class Splitter:
    """Cuts documents into chunks of at most about `max_tokens` tokens of the embedding model."""

    def __init__(self, count_tokens: Callable[[str], int], *, max_tokens: int = 200) -> None:
        self._splitter = SentenceSplitter(
            chunk_size=max_tokens,
            chunk_overlap=max_tokens // 10,
            tokenizer=lambda text: [0] * count_tokens(text),
        )

    def split(self, document: Document) -> list[Chunk]:
        """The document's chunks in order; at least one."""
        texts = [
            _with_path(document.title, section.path, piece)
            for section in sections(document.text)
            for piece in self._splitter.split_text(section.text)
        ]
        return [Chunk(ordinal, text) for ordinal, text in enumerate(texts or [document.text])]


def sections(text: str) -> list[Section]:
    """The text by its Markdown headings; what has no text under it is a path and no section."""
    found: list[Section] = []
    path: list[tuple[int, str]] = []
    lines: list[str] = []
    fenced = False

    def close() -> None:
        body = "\n".join(lines).strip()
        if body:
            found.append(Section(tuple(title for _, title in path), body))
        lines.clear()

    for line in text.splitlines():
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.fullmatch(line)
        if heading is None:
            lines.append(line)
            continue
        close()
        level = len(heading[1])
        path = [(depth, title) for depth, title in path if depth < level]
        path.append((level, heading[2]))
    close()
    return found


def _with_path(title: str, path: tuple[str, ...], text: str) -> str:
    names = path if path[:1] == (title,) else (title, *path)
    return f"{' > '.join(name for name in names if name)}\n{text}"
