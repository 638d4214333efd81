"""Which encoding a text file has. It is told, or evident, or the file is refused: never guessed."""

from __future__ import annotations

import codecs
from pathlib import Path

from charset_normalizer import from_bytes

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLOCK, _SAMPLE = 1_000_000, 64_000
# Seldom ones read as well as the right one, and are never right.
_IN_USE = [
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1257"),
    *("iso8859_2", "iso8859_5", "iso8859_7", "iso8859_15", "koi8_r", "koi8_u"),
    *("cp932", "euc_jp", "gb18030", "big5", "euc_kr"),
]
# Of 1: how much of a language's letter frequencies is found, and by how much more than elsewhere.
# With these, no sample of ten languages was taken for another encoding; French was refused, as its
# letters mean something in Polish, too.
_COHERENT, _CLEARLY = 0.3, 0.15


class UnknownEncodingError(UnicodeError):
    """It is not Unicode, and what else it is cannot be told."""


def encoding_of(path: Path, stated: str | None = None, declared: str | None = None) -> str:
    """Python's name of the file's encoding.

    stated: what its sender says that it is. declared: what the file says of itself
    (`<meta charset>`), believed after Unicode's own marks and only where it decodes.

    Raises:
        UnknownEncodingError: nothing is certain.
    """
    if stated is not None:
        return _if_decodes(path, stated)
    with path.open("rb") as file:
        head = file.read(4)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return _if_decodes(path, name)
    if _decodes(path, "utf-8"):
        return "utf-8"
    if declared is not None and declared != "utf-8":
        return _if_decodes(path, declared)
    return _if_decodes(path, _detected(path))


def _detected(path: Path) -> str:
    with path.open("rb") as file:
        sample = file.read(_SAMPLE)
    if b"\0" in sample:
        raise UnknownEncodingError
    found = sorted(from_bytes(sample, cp_isolation=_IN_USE), key=lambda m: (m.chaos, -m.coherence))
    if not found or found[0].coherence < _COHERENT:
        raise UnknownEncodingError
    best = found[0]
    others = [other for other in found[1:] if other.chaos == best.chaos and str(other) != str(best)]
    if any(best.coherence - other.coherence < _CLEARLY for other in others):
        raise UnknownEncodingError
    return best.encoding


def _if_decodes(path: Path, encoding: str) -> str:
    if not _decodes(path, encoding):
        raise UnknownEncodingError
    return encoding


def _decodes(path: Path, encoding: str) -> bool:
    """Whether all of it is text in this encoding; a NUL is none."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                if "\0" in decoder.decode(block):
                    return False
        decoder.decode(b"", final=True)
    except (UnicodeError, LookupError):
        return False
    return True
