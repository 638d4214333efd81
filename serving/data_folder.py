"""The data folder and its one owner."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from serving.errors import DataFolderInUseError, StartupError

# Linux's sun_path, without its closing zero byte.
_SOCKET_LENGTH = 107


@contextmanager
def owned(folder: Path) -> Generator[None, None, None]:
    """Own the folder for as long as the block runs; the kernel gives it back after a kill.

    Raises:
        DataFolderInUseError: another process owns it.
        StartupError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartupError(
            f"The data folder {folder} cannot be written: {error.strerror}. "
            "Set BULKHEAD_DATA_DIR to a folder of your own."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DataFolderInUseError(
            f"Another gateway runs on {folder}. Use that one, or stop it first."
        ) from None
    finally:
        os.close(lock)


def gateway_socket(folder: Path) -> Path:
    """Where the folder's gateway listens for the command line.

    Raises:
        StartupError: the path is longer than the kernel takes.
    """
    path = min((folder / "run" / "gateway.sock", _relative(folder)), key=lambda p: len(str(p)))
    if len(os.fsencode(path)) > _SOCKET_LENGTH:
        raise StartupError(f"The path of {folder} is too long for a socket. Use a shorter one.")
    return path


def _relative(folder: Path) -> Path:
    return Path(os.path.relpath(folder / "run" / "gateway.sock"))
