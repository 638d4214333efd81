"""The store: sealed files in folders, over fsspec. It never sees a name, a key or a weight.

Every function blocks: call it in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from isolation.errors import BulkheadError
from serving.adapters.errors import AdapterTamperedError, AdapterUnavailableError
from serving.adapters.sealing import BrokenSealError
from serving.errors import StartupError


class AdapterObjects:
    """Objects below one root. Open it."""

    def __init__(self, files: Any, root: str) -> None:
        self._files = files
        self._root = root.rstrip("/")
        self._local = isinstance(files, LocalFileSystem)

    @classmethod
    def open(cls, url: str) -> AdapterObjects:
        """The store at an fsspec URL: a folder, `s3://bucket/prefix`, ...

        Raises:
            StartupError: its protocol is not known here, or a folder cannot be made.
        """
        try:
            # Another gateway writes too: a remembered listing would be wrong.
            files, root = fsspec.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
            if isinstance(files, LocalFileSystem):
                Path(root).mkdir(parents=True, exist_ok=True, mode=0o700)
        except ImportError:
            raise StartupError(
                "BULKHEAD_ADAPTER_URL needs a library that is not installed. "
                "For S3: pip install 'bulkhead-rag[s3]'."
            ) from None
        except (ValueError, OSError):
            raise StartupError("BULKHEAD_ADAPTER_URL is not a store that can be used.") from None
        return cls(files, root)

    @contextmanager
    def writing(self, folder: str, name: str) -> Generator[BinaryIO, None, None]:
        """A new object; durable when the block has ended.

        Raises:
            AdapterUnavailableError: the store fails.
        """
        path = self._path(folder, name)
        with _failures():
            if self._local:
                Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._files.open(path, "wb") as file:
                yield cast("BinaryIO", file)
            if self._local:
                _flush(Path(path))

    @contextmanager
    def reading(self, folder: str, name: str) -> Generator[BinaryIO, None, None]:
        """An object.

        Raises:
            AdapterUnavailableError: the store fails.
            AdapterTamperedError: there is no such object, or what reads it finds its seal broken.
        """
        with _failures(), self._files.open(self._path(folder, name), "rb") as file:
            yield cast("BinaryIO", file)

    def remove(self, folder: str) -> None:
        """Delete all objects of a folder, if there are any.

        Raises:
            AdapterUnavailableError: the store fails, or still shows one.
        """
        path = self._path(folder)
        with _failures():
            if self._files.exists(path):
                self._files.rm(path, recursive=True)
            if self._files.exists(path):
                raise AdapterUnavailableError("The adapter store did not delete what it should.")

    def _path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))


@contextmanager
def _failures() -> Generator[None, None, None]:
    try:
        yield
    except BulkheadError:
        raise
    except (BrokenSealError, FileNotFoundError):
        raise AdapterTamperedError from None
    except Exception as error:
        # Each backend of fsspec has errors of its own, and their texts quote paths and keys.
        raise AdapterUnavailableError("The adapter store does not answer.") from error


def _flush(path: Path) -> None:
    """To the disk, with the folders' entries: the database commits only what is there."""
    for place in (path, path.parent, path.parent.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
