"""Files under AES-256-GCM, segment by segment, in constant memory.

The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizar: "Online Authenticated-Encryption and
its Nonce-Reuse Misuse-Resistance", CRYPTO 2015, section 7): the nonce counts the segments and marks
the last, so that none can be dropped, repeated or moved, and the file cannot be cut.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MAGIC = b"BKSEAL1\0"
_PREFIX_BYTES, _TAG_BYTES = 7, 16
_SEGMENT = 1_048_576


class BrokenSealError(ValueError):
    """Not sealed with this key for this context, changed, or cut short."""


def seal(source: BinaryIO, sink: BinaryIO, key: bytes, context: bytes) -> None:
    """Write `source` to `sink`, encrypted and bound to `context`."""
    cipher, prefix = AESGCM(key), secrets.token_bytes(_PREFIX_BYTES)
    sink.write(_MAGIC + prefix)
    for number, last, segment in _segments(source, _SEGMENT):
        sink.write(cipher.encrypt(_nonce(prefix, number, last), segment, context))


def unseal(source: BinaryIO, sink: BinaryIO, key: bytes, context: bytes) -> None:
    """Write the plaintext of `source` to `sink`. What was written before an error is genuine, but
    not whole: throw it away.

    Raises:
        BrokenSealError: see there.
    """
    if source.read(len(_MAGIC)) != _MAGIC:
        raise BrokenSealError
    cipher, prefix = AESGCM(key), source.read(_PREFIX_BYTES)
    try:
        for number, last, segment in _segments(source, _SEGMENT + _TAG_BYTES):
            sink.write(cipher.decrypt(_nonce(prefix, number, last), segment, context))
    except (InvalidTag, ValueError, OverflowError):
        raise BrokenSealError from None


def _segments(source: BinaryIO, size: int) -> Iterator[tuple[int, bool, bytes]]:
    """Number, whether it is the last, and content; one empty segment for an empty source."""
    number, segment = 0, _full(source, size)
    while True:
        following = _full(source, size)
        yield number, not following, segment
        if not following:
            return
        number, segment = number + 1, following


def _full(source: BinaryIO, size: int) -> bytes:
    """`size` bytes, fewer only at the end: a remote file may give less at a time."""
    parts: list[bytes] = []
    while size and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + bytes([last])
