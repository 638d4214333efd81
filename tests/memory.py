"""Storage in memory: folders of a test's own, and where pytest keeps its files."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import psutil

_MEMORY = Path("/dev/shm")
# Whole runs have written 5 GB at a time.
_ROOM = 8 << 30


def memory_root(tmp_path: Path) -> Path:
    """The test's own, in whichever process it runs; not made yet."""
    name = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:16]
    return _MEMORY / f"bulkhead-test-{name}"


def keep_files_in_memory() -> None:
    """Temporary folders are in memory where there is room. Stores, databases and logs wait for the
    disk at each write (a store is made in .7 s, and here in .04), and what is killed in a test is a
    process and never the machine."""
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK):
        return
    if shutil.disk_usage(_MEMORY).free < _ROOM or psutil.virtual_memory().available < 2 * _ROOM:
        return
    # For the processes that tests start, too.
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None
