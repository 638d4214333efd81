"""Folders on memory-backed storage: where plaintext weights are, for as long as they must be."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil

from serving.errors import StartupError

_IN_MEMORY = frozenset(("tmpfs", "ramfs"))


class PrivateMemory:
    """Makes folders of mode 0700 that are gone after use. Open it; one process owns a `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def open(cls, root: Path) -> PrivateMemory:
        """Take `root`, and remove what a killed predecessor left there.

        Raises:
            StartupError: it is not on memory-backed storage, or another user's.
        """
        if _file_system(root.parent) not in _IN_MEMORY:
            raise StartupError(
                f"{root.parent} is not memory-backed, and adapters' weights may not touch a disk. "
                "Set BULKHEAD_ADAPTER_MEMORY to a folder on a tmpfs."
            )
        root.mkdir(mode=0o700, exist_ok=True)
        found = root.lstat()
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if not private or found.st_uid != os.getuid():
            raise StartupError(f"{root} is not this user's private folder. Remove it.")
        for left in root.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        return cls(root)

    @contextmanager
    def folder(self) -> Generator[Path, None, None]:
        """A new folder, while the block runs."""
        with tempfile.TemporaryDirectory(dir=self._root) as folder:
            yield Path(folder)

    def close(self) -> None:
        """Remove the root, and whatever is still in it."""
        shutil.rmtree(self._root, ignore_errors=True)


def _file_system(folder: Path) -> str:
    resolved = folder.resolve()
    mounts = [
        part
        for part in psutil.disk_partitions(all=True)
        if resolved.is_relative_to(part.mountpoint)
    ]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else ""
