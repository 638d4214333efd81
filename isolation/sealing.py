"""A tenant's texts at rest, sealed under a key of its own: without the key they are noise.

Deleting the key is deleting the texts, wherever copies of their bytes lie.
"""

from __future__ import annotations

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isolation.errors import BulkheadError
from isolation.tenant_id import TenantId

KEY_BYTES = 32
_NONCE_BYTES = 12
_MARK = "sealed1:"


class SealError(BulkheadError):
    """What was sealed cannot be opened: another key, another tenant's, or damaged."""

    code = "seal_broken"


class TenantCipher:
    """AES-256-GCM with random nonces (NIST SP 800-38D: up to 2**32 texts a key), bound to the
    tenant's id: what is copied to another tenant does not open there."""

    __slots__ = ("_aes", "_tenant")

    def __init__(self, tenant: TenantId, key: bytes) -> None:
        self._tenant = tenant.encode()
        self._aes = AESGCM(key)

    def seal(self, text: str) -> str:
        """The text as ASCII that only `open` reads."""
        return _MARK + base64.b64encode(self.seal_bytes(text.encode())).decode()

    def open(self, sealed: str) -> str:
        """What `seal` was given; text that was never sealed, as it was written before there were
        keys, is given back as it is.

        Raises:
            SealError: it was sealed under another key or for another tenant, or is damaged.
        """
        if not sealed.startswith(_MARK):
            return sealed
        try:
            return self.open_bytes(base64.b64decode(sealed[len(_MARK) :], validate=True)).decode()
        except ValueError:
            raise SealError("A sealed text is damaged.") from None

    def seal_bytes(self, data: bytes) -> bytes:
        """Nonce and ciphertext."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aes.encrypt(nonce, data, self._tenant)

    def open_bytes(self, sealed: bytes) -> bytes:
        """What `seal_bytes` was given.

        Raises:
            SealError: it was sealed under another key or for another tenant, or is damaged.
        """
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._aes.decrypt(nonce, rest, self._tenant)
        except (InvalidTag, ValueError):
            raise SealError("What was sealed does not open with this key.") from None

    def __repr__(self) -> str:
        return "TenantCipher()"
