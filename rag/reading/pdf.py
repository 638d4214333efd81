"""PDF by pypdf. LlamaIndex's `PDFReader` reads whole files into one list, headers and all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document
from pypdf import PdfReader as Pypdf

from rag.reading.limits import ReadingLimits
from rag.reading.text import PAGE_TITLE, piece

# A word that was cut at the end of a line; what follows in lower case is its rest.
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u00ad]\n(?=[a-zß-öø-ÿ])")
_NUMBER = re.compile(r"\d{1,5}")
# Lines at a page's top and bottom that most pages share are the paper's and not the text's.
_EDGE, _SHARED, _FEWEST = 2, 0.6, 3
_SAMPLED, _NUMBERS = 60, 3


class PdfReader(BaseReader):
    """A page's text in the order of its content stream, without running headers and footers, and
    with words whole that were cut by a hyphen."""

    def lazy_load_data(
        self, file: Path, limits: ReadingLimits, encoding: str | None = None
    ) -> Iterable[Document]:
        """The pages, to be joined by nothing.

        Raises:
            PyPdfError: it is broken, encrypted, or expands beyond pypdf's own limits.
            DocumentTooLargeError: more pages than the limit.
        """
        reader = Pypdf(file)
        limits.check("pages", len(reader.pages))
        title = str((reader.metadata and reader.metadata.title) or "").strip()
        yield Document(text="", metadata={PAGE_TITLE: title[:500]} if title else {})
        running = _running(reader)
        for number, page in enumerate(reader.pages):
            text = "\n".join(_without(running, _lines(page.extract_text()), number))
            yield piece(_HYPHEN.sub("", text) + "\n\n")


def _running(reader: Pypdf) -> set[str]:
    """Headers and footers, in the words of `_signs`."""
    sampled = list(reader.pages[:_SAMPLED])
    if len(sampled) < _FEWEST:
        return set()
    seen: Counter[str] = Counter()
    for number, page in enumerate(sampled):
        lines = _lines(page.extract_text())
        seen.update({s for line in lines[:_EDGE] + lines[-_EDGE:] for s in _signs(line, number)})
    return {sign for sign, count in seen.items() if count >= max(_FEWEST, _SHARED * len(sampled))}


def _without(running: set[str], lines: list[str], number: int) -> list[str]:
    inner = range(_EDGE, len(lines) - _EDGE)
    return [
        line
        for position, line in enumerate(lines)
        if position in inner or running.isdisjoint(_signs(line, number))
    ]


def _signs(line: str, number: int) -> set[str]:
    """What page `number` may share with others: the line, or the line but for the page's number."""
    counted = (
        f"{line[: found.start()]}#{int(found[0]) - number}{line[found.end() :]}"
        for found in islice(_NUMBER.finditer(line), _NUMBERS)
    )
    return {line, *counted}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
