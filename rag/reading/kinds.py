"""The endings of the files that are read; apart from the readers, which take seconds to import."""

from __future__ import annotations

KINDS = frozenset({".md", ".markdown", ".txt", ".html", ".htm", ".csv", ".pdf"})
