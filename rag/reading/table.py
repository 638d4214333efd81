"""CSV. LlamaIndex's `CSVReader` loses the columns' names."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document

from rag.errors import DocumentTooLargeError
from rag.reading.encodings import encoding_of
from rag.reading.limits import ReadingLimits
from rag.reading.text import piece

_ROWS_A_PIECE = 200
_SAMPLE = 8_192
_DELIMITERS = ",;\t|"


class CsvReader(BaseReader):
    """One line a row, each value with its column's name: a row is read without its header."""

    def lazy_load_data(
        self, file: Path, limits: ReadingLimits, encoding: str | None = None
    ) -> Iterable[Document]:
        """The rows, to be joined by nothing.

        Raises:
            UnicodeError: it is not text in an encoding that can be told.
            csv.Error: it is broken.
            DocumentTooLargeError: more cells than the limit, or one that is larger than it.
        """
        csv.field_size_limit(limits.cell)
        with file.open(encoding=encoding_of(file, encoding), newline="") as text:
            dialect = _dialect(text.readline(_SAMPLE))
            text.seek(0)
            lines: list[str] = []
            for line in _lines(csv.reader(text, dialect), limits):
                lines.append(line)
                if len(lines) == _ROWS_A_PIECE:
                    yield piece("".join(lines))
                    lines.clear()
            yield piece("".join(lines))


def _dialect(header: str) -> type[csv.Dialect]:
    """Excel's own, with the delimiter that the header has most of."""

    class Dialect(csv.excel):
        delimiter = max(_DELIMITERS, key=header.count)

    return Dialect


def _lines(rows: Iterator[list[str]], limits: ReadingLimits) -> Iterator[str]:
    names: list[str] | None = None
    cells = 0
    while (row := _next(rows, limits)) is not None:
        cells += len(row)
        limits.check("cells", cells)
        values = [" ".join(value.split()) for value in row]
        if not any(values):
            continue
        if names is None:
            names = values
            continue
        yield "; ".join(_named(names, values)) + "\n"


def _next(rows: Iterator[list[str]], limits: ReadingLimits) -> list[str] | None:
    try:
        return next(rows, None)
    except csv.Error as error:
        if "field limit" in str(error):
            limits.check("cell", limits.cell + 1)
            raise DocumentTooLargeError("one of its cells is too large") from None
        raise


def _named(names: list[str], values: list[str]) -> Iterator[str]:
    """Each value after its column's name; empty ones say nothing."""
    for name, value in zip_longest(names[: len(values)], values, fillvalue=""):
        if value:
            yield f"{name}: {value}" if name else value
