"""Numbers in words, "four one one one": as many digits as a phone, a card or an id has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from isolation.masking.findings import Finding
from isolation.masking.rules.cues import cue_before

_DIGIT = r"(?:zero|oh|nought|one|two|three|four|five|six|seven|eight|nine)"
_REPEATED = {"double": 2, "triple": 3}
_ONE = rf"(?:(?:double|triple)[ -])?{_DIGIT}"
_RUN = re.compile(rf"\b{_ONE}(?:[ ,.\n-]{{1,3}}{_ONE}){{6,}}\b", re.IGNORECASE)
_CARD_LENGTH, _ID_LENGTH = 13, 9


def spelled_digits(text: str) -> Iterator[Finding]:
    """Seven digits or more in a row, in words."""
    for match in _RUN.finditer(text):
        yield Finding(*match.span(), _kind(text, match), 0.8)


def _kind(text: str, match: re.Match[str]) -> str:
    count, times = 0, 1
    for word in re.findall(r"[a-z]+", match[0].lower()):
        if word in _REPEATED:
            times = _REPEATED[word]
        else:
            count, times = count + times, 1
    if count >= _CARD_LENGTH:
        return "CREDIT_CARD"
    if cue_before(text, match.start()) == "US_SSN" and count == _ID_LENGTH:
        return "US_SSN"
    return "PHONE_NUMBER"
