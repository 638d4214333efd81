"""A version's files in the store, sealed for exactly this tenant, name, version and file.

Every function blocks: call it in a thread.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from isolation.namespaces import length_prefixed
from serving.adapters.checks import FILES, file_entry
from serving.adapters.errors import AdapterTamperedError
from serving.adapters.manifest import Manifest
from serving.adapters.objects import AdapterObjects
from serving.adapters.sealing import seal, unseal


class SealedFiles:
    """Seals files into the store, and unseals them."""

    def __init__(self, objects: AdapterObjects) -> None:
        self._objects = objects

    def seal(self, manifest: Manifest, folder: str, source: Path, key: bytes) -> None:
        """Write the files in `source` to a folder of the store.

        Raises:
            AdapterUnavailableError: the store fails.
        """
        for name in FILES:
            with (
                (source / name).open("rb") as plain,
                self._objects.writing(folder, _object_name(key, name)) as sealed,
            ):
                seal(plain, sealed, key, bound(manifest, name))

    def unseal(self, manifest: Manifest, folder: str, into: Path, key: bytes) -> None:
        """Write a version's files into `into`, each compared with the manifest.

        Raises:
            AdapterTamperedError: one is missing, or not what was sealed.
            AdapterUnavailableError: the store fails.
        """
        for name in FILES:
            with (
                self._objects.reading(folder, _object_name(key, name)) as sealed,
                (into / name).open("xb") as plain,
            ):
                unseal(sealed, plain, key, bound(manifest, name))
            if file_entry(into / name) != manifest.files[name]:
                raise AdapterTamperedError

    def remove(self, folder: str) -> None:
        """Delete a folder of the store.

        Raises:
            AdapterUnavailableError: the store fails.
        """
        self._objects.remove(folder)


def bound(manifest: Manifest, what: str) -> bytes:
    """What a seal, or a wrapped key, is bound to."""
    parts = (manifest.tenant, manifest.name, str(manifest.version), manifest.upload, what)
    return length_prefixed(("bulkhead adapter", *parts))


def _object_name(key: bytes, file: str) -> str:
    return hmac.new(key, b"object\0" + file.encode(), hashlib.sha256).hexdigest()
