"""Personal data that was in nothing this request was given does not leave with its answer.

A model may have it from its training, or from a state that it should not share. What has a form of
its own is looked for: e-mail addresses, IBANs, cards, social security and international phone
numbers. What the conversation or the passages hold may be repeated.

A value of a kind that is masked is removed; one of a kind that is blocked ends the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from isolation.errors import AnswerBlockedError
from isolation.masking.given import Given
from isolation.masking.rules.checksums import IBAN_LENGTHS, iban, luhn

REMOVED = "[removed]"
LONGEST = 64  # characters that are looked at together, and held back at most
KINDS = ("EMAIL_ADDRESS", "IBAN_CODE", "CREDIT_CARD", "US_SSN", "PHONE_NUMBER")

_EMAIL = re.compile(r"[\w.+-]*[\w+-]@[^\W_][\w-]*(?:\.[\w-]*[^\W_])+")
_IBAN = re.compile(r"(?<![^\W_])[A-Z]{2}\d\d(?: ?[A-Z0-9]){11,30}", re.IGNORECASE)
_CARD = re.compile(r"(?<!\d)[2-6](?:[ -]?\d){14,18}(?!\d)")
_SSN = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\d-])")
_PHONE = re.compile(r"\+[1-9](?:[ ()/.-]{0,2}\d){7,14}(?!\d)")


class ForeignDataGuard:
    """A `StreamTransform`. `given`: what went into the request; `kinds`: what to look for and
    remove; `blocked`: what to look for and end the answer at. Words with a digit or an @ are held
    back until the run of them is over, or is `LONGEST`.

    Raises:
        AnswerBlockedError: from `feed` and `flush`; nothing of the value has left.
    """

    def __init__(self, given: Given, kinds: Iterable[str], blocked: Iterable[str] = ()) -> None:
        self._given = given
        self._blocked = frozenset(blocked)
        looked_for = self._blocked.union(kinds)
        self._finders = [(kind, _FINDERS[kind]) for kind in KINDS if kind in looked_for]
        self._held = ""
        self._too_long = False  # inside a word that is longer than LONGEST

    def feed(self, text: str) -> str:
        return "".join(self._character(char) for char in text) if self._finders else text

    def flush(self) -> str:
        return self._released()

    def _character(self, char: str) -> str:
        if char == " " or not char.isspace():
            return self._inside(char)
        self._too_long = False
        return self._released() + char

    def _inside(self, char: str) -> str:
        if char == " " and not self._run_goes_on():
            self._too_long = False
            return self._released() + char
        if self._too_long:
            self._too_long = char != " "
            return char
        out = ""
        if len(self._held) == LONGEST:
            out = self._released()
            self._too_long = char != " "
            if self._too_long:
                return out + char
        self._held += char
        return out

    def _run_goes_on(self) -> bool:
        """Whether the word that ends here may go on after a space, as the groups of a number do."""
        word = self._held.rpartition(" ")[2]
        return any(char.isdigit() or char in "@+" for char in word)

    def _released(self) -> str:
        text, self._held = self._held, ""
        for kind, find in self._finders:
            for start, end in reversed(list(find(text))):
                if not self._given.holds(text[start:end]):
                    if kind in self._blocked:
                        raise AnswerBlockedError(kind)
                    text = text[:start] + REMOVED + text[end:]
        return text


def _by(pattern: re.Pattern[str]) -> Callable[[str], Iterator[tuple[int, int]]]:
    return lambda text: (match.span() for match in pattern.finditer(text))


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        length = IBAN_LENGTHS.get(match[0][:2].upper(), 99)
        places = [i for i in range(*match.span()) if text[i] != " "][:length]
        code = "".join(text[i] for i in places).upper()
        if len(code) == length and iban(code):
            yield match.start(), places[-1] + 1


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        if luhn(re.sub(r"\D", "", match[0])):
            yield match.span()


_FINDERS = {
    "EMAIL_ADDRESS": _by(_EMAIL),
    "IBAN_CODE": _ibans,
    "CREDIT_CARD": _cards,
    "US_SSN": _by(_SSN),
    "PHONE_NUMBER": _by(_PHONE),
}
