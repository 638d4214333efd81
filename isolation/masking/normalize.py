"""Text as recognizers read it, with the way back to every original character.

What a person reads as "maria@example.com" can be written with full-width letters, Cyrillic
look-alikes, zero-width characters, HTML entities or Arabic digits. Recognizers see one form of all
of these; what they find is masked in the text as it was written.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

# Pairs that a reader cannot tell apart; from the Unicode Consortium's confusables (UTS 39), the
# letters that common fonts draw alike.
_LOOK_ALIKE = str.maketrans(
    "аеорсхуіјѕһԁԛԝАВЕКМНОРСТХУІЈЅԌαονικυρχΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɡɑɩʏꜱ",
    "aeopcxyijshdqwABEKMHOPCTXYIJSGaovikupxABEZHIKMNOPTYXigaiys",
)
_DASHES = "‐‑‒–—―−﹘﹣－"  # each reads as a hyphen
_OTHERS = str.maketrans(
    {**dict.fromkeys(_DASHES, "-"), "。": ".", "·": ".", "∕": "/", "⁄": "/", "’": "'"}
)
_ESCAPE = re.compile(
    r"&#\d{2,7};|&#x[0-9a-f]{2,6};|&(?:amp|lt|gt|quot|commat|period|nbsp|lowbar|hyphen|plus);"
    r"|%[2-7][0-9A-F]|\\u[0-9a-f]{4}|(?-i:\\[nrt](?![a-z]))",
    re.IGNORECASE,
)
_LATIN_WORD = re.compile(r"[\w@.+-]+")
_DEFAULT_IGNORABLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")


@dataclass(frozen=True, slots=True)
class Normalized:
    """`text[i]` was written as `original[starts[i]:ends[i]]`; no tables where nothing changed."""

    text: str
    starts: tuple[int, ...] | None = None
    ends: tuple[int, ...] | None = None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that `text[start:end]`, not empty, was written as."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def normalize(text: str) -> Normalized:
    """`text` in one spelling: NFKC, no format characters, ASCII digits, dashes and look-alikes."""
    if text.isascii() and not _ESCAPE.search(text):
        return Normalized(text)
    pieces, starts, ends = [], [], []
    for piece, start, end in _read(text):
        pieces.append(piece)
        starts += [start] * len(piece)
        ends += [end] * len(piece)
    return Normalized(_latin("".join(pieces)), tuple(starts), tuple(ends))


def _read(text: str) -> Iterator[tuple[str, int, int]]:
    """Each cluster's reading, and where it stands."""
    position = 0
    while position < len(text):
        end = _cluster_end(text, position)
        yield _reading(text[position:end]), position, end
        position = end


def _cluster_end(text: str, start: int) -> int:
    """An escape, or a character with the marks that combine with it."""
    if text[start] in "&%\\" and (escape := _ESCAPE.match(text, start)):
        return escape.end()
    end = start + 1
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return end


def _reading(cluster: str) -> str:
    if len(cluster) > 1 and cluster[0] in "&%\\" and _ESCAPE.fullmatch(cluster):
        cluster = _unescaped(cluster)
    read = unicodedata.normalize("NFKC", cluster).translate(_OTHERS)
    return "".join(_digit(char) for char in read if not _is_invisible(char))


def _unescaped(escape: str) -> str:
    if escape[0] == "&":
        return html.unescape(escape)
    if len(escape) == 2:
        return "\n" if escape[1] in "nr" else " "
    char = chr(int(escape.lstrip("%\\u"), 16))
    return " " if char in "\"'\\\n\r" or "\ud800" <= char <= "\udfff" else char


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) == "Cf" or char in _DEFAULT_IGNORABLE or "︀" <= char <= "️"


def _digit(char: str) -> str:
    return char if char.isascii() or not char.isdecimal() else str(unicodedata.decimal(char))


def _latin(text: str) -> str:
    """Look-alikes as Latin letters, in words that are Latin otherwise. Same length."""
    foreign = text.translate(_LOOK_ALIKE)
    if foreign == text:
        return text
    mostly_latin = sum(c.isascii() and c.isalpha() for c in text) * 2 > sum(map(str.isalpha, text))

    def folded(match: re.Match[str]) -> str:
        word, plain = match[0], match[0].translate(_LOOK_ALIKE)
        mixed = any(c.isascii() and c.isalnum() for c in word)
        return plain if mixed or (mostly_latin and plain.isascii()) else word

    return _LATIN_WORD.sub(folded, text)
