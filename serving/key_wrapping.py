"""Keys that encrypt keys: AES-256-GCM, and the port behind which the master key stays.

A wrapped key is bound to a context (whose, and what for): moved elsewhere, it does not open.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isolation.errors import BulkheadError

KEY_BYTES = 32
_NONCE_BYTES = 12


class KeyNotOpenedError(BulkheadError):
    """A wrapped key does not open: another key wrapped it, or for another context."""

    code = "key_not_opened"

    def __init__(self) -> None:
        super().__init__(
            "A wrapped key does not open with this platform's master key. Set BULKHEAD_MASTER_KEY "
            "to the one that wrapped it, or restore its key file."
        )


class KeyManagement(Protocol):
    """Where the master key is: a key file here, a KMS elsewhere. It wraps and unwraps, and the
    master key itself never leaves it."""

    @property
    def key_id(self) -> str:
        """Which master key; stored beside what it wrapped."""

    async def wrap(self, key: bytes, context: bytes) -> bytes:
        """`key`, readable by this master key and in this context alone."""

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key again. Raises KeyNotOpenedError."""


class KeyFile(KeyManagement):
    """The master key of `serving.key_files`, or rather 32 bytes derived from it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._key_id = hashlib.sha256(b"bulkhead key id\0" + key).hexdigest()[:16]

    @property
    def key_id(self) -> str:
        return self._key_id

    async def wrap(self, key: bytes, context: bytes) -> bytes:
        return wrap(self._key, key, context)

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return unwrap(self._key, wrapped, context)


def new_key() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(KEY_BYTES)


def wrap(wrapping: bytes, key: bytes, context: bytes) -> bytes:
    """`key` under `wrapping`, bound to `context`."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(wrapping).encrypt(nonce, key, context)


def unwrap(wrapping: bytes, wrapped: bytes, context: bytes) -> bytes:
    """The key again.

    Raises:
        KeyNotOpenedError: another key, another context, or changed bytes.
    """
    try:
        return AESGCM(wrapping).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError):
        raise KeyNotOpenedError from None
