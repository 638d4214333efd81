"""API keys: `bk_<key id>_<secret>`, 256 random bits in the secret, stored only as a SHA-256.

A fast hash is right here: the secret has full entropy, so there is nothing to guess that a slow
hash would protect, and a slow one would be a lever for denial of service.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

_KEY = re.compile(r"bk_([a-z2-7]{16})_([A-Za-z0-9_-]{43})")
_NO_SECRET = hashlib.sha256(b"no such key").digest()
NO_KEY_ID = "a" * 16


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as a caller presented it: parsed, not yet believed."""

    key_id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key: `text` is shown once and never stored, `digest` is stored."""

    key_id: str
    text: str
    digest: bytes

    def __repr__(self) -> str:
        return f"IssuedKey(key_id={self.key_id!r})"


def issue_key() -> IssuedKey:
    """A fresh key from the operating system's random source."""
    key_id = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    secret = secrets.token_urlsafe(32)
    return IssuedKey(key_id, f"bk_{key_id}_{secret}", _digest(key_id, secret))


def parse_key(text: str) -> PresentedKey:
    """What a caller sent, as something to look up.

    A malformed key parses to one that cannot exist, so that the caller of this function does the
    same work for it as for an unknown one.
    """
    match = _KEY.fullmatch(text)
    if match is None:
        return PresentedKey(NO_KEY_ID, hashlib.sha256(text.encode(errors="replace")).digest())
    return PresentedKey(match[1], _digest(match[1], match[2]))


def matches(presented: PresentedKey, stored_digest: bytes | None) -> bool:
    """Whether the key is the stored one, in constant time; `None` (no such key) never is."""
    same = hmac.compare_digest(presented.digest, stored_digest or _NO_SECRET)
    return same and stored_digest is not None


def _digest(key_id: str, secret: str) -> bytes:
    return hashlib.sha256(f"bk_{key_id}_{secret}".encode()).digest()
