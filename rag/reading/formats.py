"""LlamaIndex readers for formats whose structure LlamaIndex's own lose.

`HTMLTagReader` drops headings and tables, `CSVReader` the columns' names, `FlatReader` does not
decode.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import PurePosixPath

from bs4 import BeautifulSoup, Tag
from fsspec import AbstractFileSystem
from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document

_NOISE = ("script", "style", "nav", "footer", "header", "aside", "form", "noscript")
_BLOCKS = ("h1", "h2", "h3", "h4", "h5", "h6", "p", "li", "tr", "pre", "blockquote")


class TextReader(BaseReader):
    """Text as it is: UTF-8, with or without a byte order mark."""

    def load_data(self, file: PurePosixPath, fs: AbstractFileSystem) -> list[Document]:
        """One document.

        Raises:
            UnicodeError, ValueError: it is not text.
        """
        text = fs.cat_file(str(file)).decode("utf-8-sig")
        if "\0" in text:
            raise ValueError("binary")
        return [Document(text=self.plain(text))]

    def plain(self, text: str) -> str:
        """The text that is kept."""
        return text


class HtmlReader(TextReader):
    """The main part of a page: headings as Markdown's, a table row a line."""

    def plain(self, text: str) -> str:
        soup = BeautifulSoup(text, "html.parser")
        for noise in soup(_NOISE):
            noise.decompose()
        root = soup.find("main") or soup.find("article") or soup.body or soup
        assert isinstance(root, Tag)
        blocks = [_block(tag) for tag in root.find_all(_BLOCKS) if tag.find(_BLOCKS) is None]
        body = "\n\n".join(block for block in blocks if block)
        return body or root.get_text("\n", strip=True)


class CsvReader(TextReader):
    """One line a row, each value with its column's name: a row is read without its header."""

    def plain(self, text: str) -> str:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if any(row)]
        if len(rows) < 2:
            return ""
        header, *body = rows
        named = (zip(header, row, strict=False) for row in body)
        return "\n".join("; ".join(f"{key}: {value}" for key, value in row) for row in named)


def _block(tag: Tag) -> str:
    if tag.name == "tr":
        cells = [cell.get_text(" ", strip=True) for cell in tag.find_all(("td", "th"))]
        return " | ".join(cells)
    text = tag.get_text(" ", strip=True)
    if re.fullmatch(r"h[1-6]", tag.name) and text:
        return f"{'#' * int(tag.name[1])} {text}"
    return text
