"""Folders on memory-backed storage, which pytest's own are not."""

from __future__ import annotations

import hashlib
from pathlib import Path


def memory_root(tmp_path: Path) -> Path:
    """The test's own, in whichever process it runs; not made yet."""
    name = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:16]
    return Path("/dev/shm") / f"bulkhead-test-{name}"
