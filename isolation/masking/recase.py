"""Text in the case that the model was trained on: it knows "Maria Lopez", not "MARIA LOPEZ"."""

from __future__ import annotations

import re

from isolation.masking.rules.names import possible

_SHOUTED = re.compile(r"[^\W\d_]{2,}")


def recase(text: str) -> str:
    """`text`, of the same length: shouted words, and words where a name may stand, as names."""
    if _is_shouted(text):
        text = _SHOUTED.sub(lambda match: _as_name(match[0]), text)
    for start, end in possible(text, anywhere=text.islower()):
        if text[start:end].islower() or text[start:end].isupper():
            text = text[:start] + _as_names(text[start:end]) + text[end:]
    return text


def _is_shouted(text: str) -> bool:
    letters = [char for char in text if char.isalpha()]
    return len(letters) > 8 and sum(map(str.isupper, letters)) * 10 > len(letters) * 7


def _as_names(text: str) -> str:
    return _SHOUTED.sub(lambda match: _as_name(match[0]), text)


def _as_name(word: str) -> str:
    """One capital, then small letters, where neither changes the length (German ß does)."""
    first, rest = word[0].upper(), word[1:].lower()
    return first + rest if len(first) == 1 and len(rest) == len(word) - 1 else word
