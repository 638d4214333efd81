"""Whose proofs this engine believes: public keys, each with what it may speak for.

The operator's file is read again whenever it changes, so that keys are rotated while the engine
serves: add the new one, let the gateways sign with it, take the old one out. A file that is missing
or broken trusts nobody.
"""

from __future__ import annotations

import hashlib
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key and the roles that it may sign for."""

    public: Ed25519PublicKey
    roles: frozenset[str]


def key_id(public: Ed25519PublicKey) -> str:
    """A key's name: the beginning of its SHA-256."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def trust_document(keys: Iterable[TrustedKey]) -> str:
    """The operator's file that trusts `keys`."""
    entries = {
        key_id(key.public): {
            "public": b64encode(key.public.public_bytes_raw()).decode(),
            "roles": sorted(key.roles),
        }
        for key in keys
    }
    return json.dumps({"keys": entries}, indent=1)


class Trust:
    """The keys in the operator's file, and the engine's own."""

    def __init__(self, path: Path, own: Mapping[str, TrustedKey]) -> None:
        self._path = path
        self._own = dict(own)
        self._read_at: tuple[int, int, int] | None = None
        self._keys: dict[str, TrustedKey] = {}

    def find(self, name: str) -> TrustedKey | None:
        """The key called `name`, as the file stands now."""
        return self._own.get(name) or self._current().get(name)

    def names(self) -> list[str]:
        """The operator's keys that are in force."""
        return sorted(self._current())

    def _current(self) -> dict[str, TrustedKey]:
        try:
            state = os.stat(self._path)
            mark = (state.st_mtime_ns, state.st_ino, state.st_size)
            if mark != self._read_at:
                self._keys = _parsed(self._path.read_text())
                self._read_at = mark
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._keys, self._read_at = {}, None
        return self._keys


def public_key(text: str) -> Ed25519PublicKey:
    """A raw public key in base64."""
    return Ed25519PublicKey.from_public_bytes(b64decode(text, validate=True))


def _parsed(document: str) -> dict[str, TrustedKey]:
    keys = {}
    for entry in json.loads(document)["keys"].values():
        public = public_key(entry["public"])
        # Named by what it is: a wrong name in the file cannot stand for another key.
        keys[key_id(public)] = TrustedKey(public, frozenset(entry["roles"]))
    return keys
