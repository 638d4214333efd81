"""HTML. LlamaIndex's `HTMLTagReader` drops headings and tables."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from bs4 import BeautifulSoup, Tag, XMLParsedAsHTMLWarning
from bs4.dammit import EncodingDetector
from bs4.element import NavigableString
from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document

from rag.reading.encodings import encoding_of
from rag.reading.limits import ReadingLimits
from rag.reading.text import PAGE_TITLE, piece

_NOISE = frozenset(
    ("script", "style", "nav", "footer", "header", "aside", "form", "noscript", "template")
)
_TEXT = ("p", "li", "pre", "blockquote", "dt", "dd", "caption", "figcaption", "br")
_BOXES = ("body", "main", "article", "section", "div", "ul", "ol", "dl", "table")
_BLOCKS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6", *_TEXT, *_BOXES))
_HEADING = re.compile(r"h[1-6]")
_HEAD = 4_096


class HtmlReader(BaseReader):
    """The main part of a page: headings as Markdown's; a table row a line, each value with its
    column's heading where the table has one."""

    def lazy_load_data(
        self, file: Path, limits: ReadingLimits, encoding: str | None = None
    ) -> Iterable[Document]:
        """The blocks of the page, to be joined by a blank line.

        Raises:
            UnicodeError: it is not text in an encoding that can be told.
            DocumentTooLargeError: its tags are nested deeper than the limit.
        """
        with file.open("rb") as raw:
            declared = EncodingDetector.find_declared_encoding(raw.read(_HEAD), is_html=True)
        text = file.read_text(encoding_of(file, encoding, declared))
        soup = _soup(text, limits)
        root = soup.find("main") or soup.find("article") or soup.body or soup
        assert isinstance(root, Tag)
        title = soup.title.get_text(" ", strip=True)[:500] if soup.title else ""
        yield Document(text="", metadata={PAGE_TITLE: title} if title else {})
        for block in _blocks(root):
            yield piece(block + "\n\n")


def _soup(text: str, limits: ReadingLimits) -> BeautifulSoup:
    class Bounded(BeautifulSoup):
        def pushTag(self, tag: Tag) -> None:
            super().pushTag(tag)
            limits.check("nesting", len(self.tagStack))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        return Bounded(text, "html.parser")


def _blocks(root: Tag) -> Iterator[str]:
    """The blocks in order, each text once; one walk, however the tags are nested."""
    words: list[str] = []
    prefix = ""

    def ended() -> Iterator[str]:
        nonlocal prefix
        text = " ".join("".join(words).split())
        words.clear()
        if text:
            yield prefix + text
        prefix = ""

    for event, node in _walk(root):
        if isinstance(node, NavigableString):
            if type(node) is NavigableString:
                words.append(node)
        elif node.name == "table":
            yield from ended()
            if event == "open":
                yield from _table(node)
        elif node.name in _BLOCKS:
            yield from ended()
            if event == "open" and _HEADING.fullmatch(node.name):
                prefix = "#" * int(node.name[1]) + " "
    yield from ended()


def _walk(root: Tag) -> Iterator[tuple[str, Tag | NavigableString]]:
    """Tags as they open and close, and texts; not what is below noise, nor below a table."""
    stack: list[tuple[Tag, Iterator[object]]] = [(root, iter(root.children))]
    while stack:
        tag, children = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
            yield "close", tag
        elif isinstance(child, NavigableString):
            yield "text", child
        elif isinstance(child, Tag) and child.name not in _NOISE:
            yield "open", child
            inside = () if child.name == "table" else child.children
            stack.append((child, iter(inside)))


def _table(table: Tag) -> Iterator[str]:
    """One line a row; tables that a page is laid out with are read as rows, too."""
    rows = [row for row in map(_cells, table.find_all("tr")) if any(text for text, _ in row)]
    if not rows:
        return
    names = [text for text, _ in rows[0]]
    if len(rows) > 1 and all(heading for _, heading in rows[0]) and any(names):
        for row in rows[1:]:
            yield "; ".join(_named(names, row))
        return
    for row in rows:
        yield " | ".join(text for text, _ in row)


def _cells(row: Tag) -> list[tuple[str, bool]]:
    """The row's texts, and which are headings."""
    cells = row.find_all(("td", "th"), recursive=False)
    return [(" ".join(cell.get_text(" ").split()), cell.name == "th") for cell in cells]


def _named(names: list[str], row: list[tuple[str, bool]]) -> Iterator[str]:
    for position, (text, _) in enumerate(row):
        name = names[position] if position < len(names) else ""
        if text:
            yield f"{name}: {text}" if name else text
