"""Files into documents, by their ending. Broken files are refused by name, with the reason."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import PurePath

from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from rag.documents import Document
from rag.errors import DocumentUnreadableError

_NOISE = ("script", "style", "nav", "footer", "header", "aside", "form", "noscript")
_BLOCKS = ("h1", "h2", "h3", "h4", "h5", "h6", "p", "li", "tr", "pre", "blockquote")


def read_bytes(name: str, data: bytes, document_id: str) -> Document:
    """The document in a file's bytes: Markdown, text, HTML, CSV or PDF.

    Raises:
        DocumentUnreadableError: unknown ending, broken, encrypted, binary, or without text.
    """
    short = PurePath(name).name[:100]
    reader = _READERS.get(PurePath(name).suffix.lower())
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise DocumentUnreadableError(f"{short}: this kind of file is not read. Use {known}.")
    try:
        text = reader(data)
    except (UnicodeError, csv.Error, PyPdfError, ValueError, RecursionError) as error:
        reason = "it is not text" if isinstance(error, UnicodeError) else "it is broken"
        raise DocumentUnreadableError(f"{short}: {reason}.") from None
    if not text.strip():
        raise DocumentUnreadableError(f"{short}: it holds no text.")
    return Document(document_id, _title(text, short), text)


def _title(text: str, name: str) -> str:
    heading = re.search(r"^#\s+(.+)$", text, re.MULTILINE)
    stem = PurePath(name).stem.replace("-", " ").replace("_", " ")
    return heading[1].strip() if heading else stem.capitalize()


def _text(data: bytes) -> str:
    text = data.decode("utf-8-sig")
    if "\0" in text:
        raise ValueError("binary")
    return text


def _html(data: bytes) -> str:
    soup = BeautifulSoup(_text(data), "html.parser")
    for noise in soup(_NOISE):
        noise.decompose()
    root = soup.find("main") or soup.find("article") or soup.body or soup
    assert isinstance(root, Tag)
    blocks = [_block(tag) for tag in root.find_all(_BLOCKS) if tag.find(_BLOCKS) is None]
    body = "\n\n".join(block for block in blocks if block)
    return body or root.get_text("\n", strip=True)


def _block(tag: Tag) -> str:
    if tag.name == "tr":
        cells = [cell.get_text(" ", strip=True) for cell in tag.find_all(("td", "th"))]
        return " | ".join(cells)
    text = tag.get_text(" ", strip=True)
    if re.fullmatch(r"h[1-6]", tag.name) and text:
        return f"{'#' * int(tag.name[1])} {text}"
    return text


def _csv(data: bytes) -> str:
    """One line a row, each value with its column's name: a row is read without its header."""
    rows = [row for row in csv.reader(io.StringIO(_text(data), newline="")) if any(row)]
    if len(rows) < 2:
        return ""
    header, *body = rows
    named = (zip(header, row, strict=False) for row in body)
    return "\n".join("; ".join(f"{key}: {value}" for key, value in row) for row in named)


def _pdf(data: bytes) -> str:
    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted:
        raise ValueError("encrypted")
    return "\n\n".join(page.extract_text() for page in reader.pages)


_READERS: dict[str, Callable[[bytes], str]] = {
    ".md": _text,
    ".markdown": _text,
    ".txt": _text,
    ".html": _html,
    ".htm": _html,
    ".csv": _csv,
    ".pdf": _pdf,
}

# The endings that are read.
KINDS = frozenset(_READERS)
