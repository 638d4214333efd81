"""A file as its sender names it: what is there already need not be parsed again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

# Raised when the same file would be read differently.
_READER = "2"
_BLOCK = 1_000_000


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file at `path`. `name` gives its kind and, without a heading, its title; `encoding` is what
    its sender says of it, if anything."""

    path: Path
    name: str
    encoding: str | None = None

    def digest(self) -> str:
        """SHA-256 of the file and of how it is read."""
        digest = hashlib.sha256(f"{_READER}\0{self.name}\0{self.encoding or ''}\0".encode())
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()
