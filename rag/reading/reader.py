"""Files into text, by their ending. What cannot be read is refused by name, with the reason."""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import IO, Any

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document as Piece
from pypdf.errors import FileNotDecryptedError, LimitReachedError, PyPdfError
from yaml import YAMLError

from rag.documents import Document
from rag.errors import DocumentTooLargeError, DocumentUnreadableError
from rag.reading.html import HtmlReader
from rag.reading.kinds import KINDS
from rag.reading.limits import ReadingLimits
from rag.reading.pdf import PdfReader
from rag.reading.table import CsvReader
from rag.reading.text import PAGE_TITLE, MarkdownReader, TextReader

# Every one is a LlamaIndex reader that gives its pieces as it reads: another format is another
# entry.
_READERS: dict[str, BaseReader] = {
    ".md": MarkdownReader(),
    ".markdown": MarkdownReader(),
    ".txt": TextReader(),
    ".html": HtmlReader(),
    ".htm": HtmlReader(),
    ".csv": CsvReader(),
    ".pdf": PdfReader(),
}
_BROKEN = (csv.Error, PyPdfError, YAMLError, ValueError, KeyError, TypeError, AttributeError)
_TITLE_LENGTH = 300

if _READERS.keys() != KINDS:
    raise ImportError("rag.reading.kinds does not name the endings that are read.")


@dataclass(slots=True)
class Reading:
    """What a file turned out to hold, beside its text."""

    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    characters: int = 0


def read_file(
    source: Path, name: str, target: Path, limits: ReadingLimits, encoding: str | None = None
) -> Reading:
    """Write the text of `source`, a file called `name`, to `target` as UTF-8.

    encoding: of the file, where its sender says so; else it has to be evident.

    Raises:
        DocumentUnreadableError: unknown ending, broken, encrypted, binary, or without text.
        DocumentTooLargeError: it exceeds a limit.
    """
    short = PurePath(name).name[:100]
    reader = _READERS.get(PurePath(name).suffix.lower())
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise DocumentUnreadableError(f"{short}: this kind of file is not read. Use {known}.")
    try:
        limits.check("size", source.stat().st_size)
        pieces = reader.lazy_load_data(source, limits, encoding)
        reading = _written(pieces, target, limits)
    except (DocumentTooLargeError, LimitReachedError, MemoryError, RecursionError) as error:
        raise DocumentTooLargeError(f"{short}: {_excess(error)}.") from None
    except (UnicodeError, *_BROKEN) as error:
        raise DocumentUnreadableError(f"{short}: {_fault(error)}.") from None
    if not reading.characters:
        raise DocumentUnreadableError(f"{short}: it holds no text.")
    reading.title = (reading.title or _from_name(short))[:_TITLE_LENGTH]
    return reading


def read_bytes(name: str, data: bytes, document_id: str) -> Document:
    """The document in a trusted file's bytes, in this process: for demos and tests.

    Raises:
        DocumentUnreadableError, DocumentTooLargeError: as `read_file`.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "text")
        source.write_bytes(data)
        reading = read_file(source, name, target, ReadingLimits())
        text = target.read_text("utf-8").strip()
    return Document(document_id, reading.title, text, reading.metadata)


def _written(pieces: Iterable[Piece], target: Path, limits: ReadingLimits) -> Reading:
    """`characters` is 0 where there is nothing but space."""
    found: dict[str, Any] = {}
    heading, blank, characters = "", True, 0
    with _private(target) as out:
        for part in pieces:
            found |= part.metadata
            heading = heading or _heading(part.text)
            blank = blank and not part.text.strip()
            characters += out.write(part.text)
            limits.check("size", characters)
    page_title = found.pop(PAGE_TITLE, "")
    title = str(found.pop("title", "")) or heading or page_title
    return Reading(title, found, 0 if blank else characters)


def _private(path: Path) -> IO[str]:
    path.touch(mode=0o600)
    return path.open("w", encoding="utf-8", errors="replace", newline="")


def _heading(text: str) -> str:
    found = re.search(r"^#[ \t]+(\S.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _excess(error: Exception) -> str:
    if isinstance(error, DocumentTooLargeError):
        return error.message.rstrip(".")
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return "it expands to more than a parser may hold"


def _fault(error: Exception) -> str:
    if isinstance(error, FileNotDecryptedError):
        return "it is encrypted"
    if isinstance(error, UnicodeError):
        return "it is not text, or its encoding cannot be told. Save it as UTF-8, or state it"
    return "it is broken"


def _from_name(name: str) -> str:
    return PurePath(name).stem.replace("-", " ").replace("_", " ").capitalize()
