"""Files into documents, by their ending. Broken files are refused by name, with the reason."""

from __future__ import annotations

import csv
import re
from pathlib import PurePath, PurePosixPath
from typing import Any, ClassVar

from fsspec.implementations.memory import MemoryFileSystem
from llama_index.core.readers.base import BaseReader
from llama_index.readers.file import PDFReader
from pypdf.errors import PyPdfError
from tenacity import RetryError

from rag.documents import Document
from rag.errors import DocumentUnreadableError
from rag.reading.formats import CsvReader, HtmlReader, TextReader

# Every one is a LlamaIndex reader: another format is another entry.
_READERS: dict[str, BaseReader] = {
    ".md": TextReader(),
    ".markdown": TextReader(),
    ".txt": TextReader(),
    ".html": HtmlReader(),
    ".htm": HtmlReader(),
    ".csv": CsvReader(),
    ".pdf": PDFReader(),
}

# The endings that are read.
KINDS = frozenset(_READERS)


def read_bytes(name: str, data: bytes, document_id: str) -> Document:
    """The document in a file's bytes: Markdown, text, HTML, CSV or PDF.

    Raises:
        DocumentUnreadableError: unknown ending, broken, encrypted, binary, or without text.
    """
    short = PurePath(name).name[:100]
    ending = PurePath(name).suffix.lower()
    reader = _READERS.get(ending)
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise DocumentUnreadableError(f"{short}: this kind of file is not read. Use {known}.")
    file = PurePosixPath(f"/document{ending}")
    try:
        pages = reader.load_data(file, fs=_OneFile(file, data))
    except (UnicodeError, csv.Error, PyPdfError, RetryError, ValueError, RecursionError) as error:
        reason = "it is not text" if isinstance(error, UnicodeError) else "it is broken"
        raise DocumentUnreadableError(f"{short}: {reason}.") from None
    text = "\n\n".join(page.text for page in pages)
    if not text.strip():
        raise DocumentUnreadableError(f"{short}: it holds no text.")
    return Document(document_id, _title(text, short), text)


class _OneFile(MemoryFileSystem):  # type: ignore[misc]
    """One document in memory. fsspec's own keeps all files of the process in one shared dict."""

    cachable: ClassVar[bool] = False

    def __init__(self, path: PurePosixPath, data: bytes) -> None:
        super().__init__()
        self.store: dict[str, Any] = {}
        self.pseudo_dirs = [""]
        self.pipe_file(str(path), data)


def _title(text: str, name: str) -> str:
    heading = re.search(r"^#\s+(.+)$", text, re.MULTILINE)
    stem = PurePath(name).stem.replace("-", " ").replace("_", " ")
    return heading[1].strip() if heading else stem.capitalize()
