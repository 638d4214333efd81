"""Files that live as long as a request: uploads, and the text that was read from them.

They lie below the data folder, for the owner alone; what a kill left is swept at the next start.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{32}")


class Spool:
    """A folder of temporary files. Its owner is the one process that owns the data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.swept = self._sweep()

    @contextmanager
    def file(self) -> Generator[Path, None, None]:
        """A new empty file, mode 0600; removed when the block ends, however it ends."""
        path = self._folder / secrets.token_hex(16)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _sweep(self) -> int:
        """Remove what a kill left, and nothing that is not ours; how many files that were."""
        left = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        for path in left:
            path.unlink()
        return len(left)
