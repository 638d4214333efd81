"""How much of a file is read, and at what cost. What exceeds a limit is refused by its name."""

from __future__ import annotations

from dataclasses import dataclass

from rag.errors import DocumentTooLargeError


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """Limits of one file.

    size: bytes of the file, and characters of the text in it. pages: of a PDF. nesting: of HTML
    tags. cells: of a table. metadata: characters of a Markdown file's front matter. seconds, memory
    (bytes beyond what an idle parser has): of the parser's process.
    """

    size: int = 100_000_000
    pages: int = 5_000
    nesting: int = 500
    cells: int = 5_000_000
    cell: int = 1_000_000
    metadata: int = 64_000
    seconds: float = 120.0
    memory: int = 1_000_000_000

    def check(self, limit: str, value: int) -> None:
        """Hold `value` against a limit.

        Raises:
            DocumentTooLargeError: it is more.
        """
        allowed = getattr(self, limit)
        if value > allowed:
            raise DocumentTooLargeError(_SAYS[limit].format(allowed))


_SAYS = {
    "size": "it holds more than {:,} bytes. Split it",
    "pages": "it has more than {:,} pages. Split it",
    "nesting": "its tags are nested more than {:,} deep",
    "cells": "its table has more than {:,} cells. Split it",
    "cell": "one of its cells has more than {:,} characters",
    "metadata": "its front matter has more than {:,} characters",
}
