"""What a version is, signed: the platform stored these files for this tenant, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from serving.adapters.errors import AdapterTamperedError

_DOMAIN = b"bulkhead adapter manifest\0"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: its plaintext's SHA-256 and length."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A version. `upload` is random: a name that is given again is never taken for the old one.

    metrics: what the uploader says it measured. created_at: ISO 8601, UTC. created_by: the
    credential's id.
    """

    tenant: str
    name: str
    version: int
    upload: str
    base_model: str
    tokenizer: str
    rank: int
    alpha: float
    target_modules: tuple[str, ...]
    dtype: str
    files: Mapping[str, FileEntry]
    metrics: Mapping[str, float]
    created_at: str
    created_by: str

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(entry.bytes for entry in self.files.values())

    def encoded(self) -> bytes:
        """One spelling: what is signed."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()


class ManifestSigner:
    """Signs and believes manifests (Ed25519). `seed`: 32 bytes, derived from the master key."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    def sign(self, encoded: bytes) -> bytes:
        """The signature of an encoded manifest."""
        return self._key.sign(_DOMAIN + encoded)

    def believed(self, encoded: bytes, signature: bytes) -> Manifest:
        """The manifest, if the signature is ours.

        Raises:
            AdapterTamperedError: it is not.
        """
        try:
            self._key.public_key().verify(signature, _DOMAIN + encoded)
        except InvalidSignature:
            raise AdapterTamperedError from None
        return decoded(encoded)


def decoded(encoded: bytes) -> Manifest:
    """A manifest to show. Nothing is served by it before its signature was checked."""
    values: dict[str, Any] = json.loads(encoded)
    files = {name: FileEntry(**entry) for name, entry in values["files"].items()}
    modules = tuple(values["target_modules"])
    return Manifest(**values | {"files": files, "target_modules": modules})
