"""Where an upload's files are while they arrive: in private memory, few at a time."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from serving.adapters.errors import AdapterUnavailableError
from serving.adapters.memory import PrivateMemory

# Each may take the largest accepted size of memory.
_AT_ONCE = 2


class Uploads:
    """Hands out folders. One event loop only."""

    def __init__(self, memory: PrivateMemory) -> None:
        self._memory = memory
        self._running = 0

    @contextmanager
    def folder(self) -> Generator[Path, None, None]:
        """A folder for one upload, gone when the block ends.

        Raises:
            AdapterUnavailableError: too many uploads run, or the memory is full.
        """
        if self._running >= _AT_ONCE:
            raise AdapterUnavailableError("Other adapters are being uploaded. Try again shortly.")
        self._running += 1
        try:
            with self._memory.folder() as folder:
                yield folder
        except OSError:
            raise AdapterUnavailableError("There is no memory for uploads at the moment.") from None
        finally:
            self._running -= 1
