"""Cards, phone and social security numbers: runs of digits, told apart by check digits and cues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import phonenumbers

from isolation.masking.findings import Finding
from isolation.masking.rules.checksums import luhn
from isolation.masking.rules.cues import cue_before, has_cue

_RUN = re.compile(
    r"(?<![\w.,$€£/-])(?<!\d:)(?:[A-Z]?\+ ?|00|\()?\d(?:\d|[ \t\-._/()\n]{1,3}(?=[\d(]))*"
    r"\d(?![\w%€$£]|[.,]\d)"
)
_LONGEST_CARD = 19
_GROUP = re.compile(r"\d+")
_SSN = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}")
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)")
_DATE = re.compile(r"(?:19|20)\d\d-[01]\d-[0-3]\d")
_WORD_AFTER = re.compile(r"\s?\(?(?:office|fax|mobile|cell|phone|tel|home|work)\b", re.IGNORECASE)
_OWN_LINE = re.compile(r"[ \t]*(?:\n|$)")
# Issuers' first digits, by length (ISO/IEC 7812; the ranges that the card schemes publish).
_MAESTRO = r"5018|5020|5038|5[6-8]|6304|6390|67|0604"
_ISSUERS = {
    12: re.compile(_MAESTRO),
    13: re.compile(rf"4|{_MAESTRO}"),
    14: re.compile(rf"30[0-5]|3[689]|{_MAESTRO}"),
    15: re.compile(rf"3[47]|2131|1800|{_MAESTRO}"),
    **{n: re.compile(r"[2-6]|81") for n in (16, 17, 18, 19)},
}
REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "NO", "SE", "DK", "FI", "PL", "IN")
# A cue of one of these says that a run of digits is not a phone's, however it looks.
_NOT_A_PHONE = ("ITEM", "ORDER_NUMBER", "TRACKING_NUMBER", "VERSION", "CREDIT_CARD", "IBAN_CODE")


@dataclass(frozen=True, slots=True)
class _Run:
    """Digits as they are written, and what is said before them."""

    text: str
    start: int
    end: int
    digits: str
    cue: str | None


def numbers(text: str, regions: Sequence[str]) -> Iterator[Finding]:
    """All of them. `regions`: where phone numbers without a country code may be of."""
    for match in _RUN.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if len(digits) < 5 or _IPV4.fullmatch(match[0]):
            continue
        run = _Run(match[0], match.start(), match.end(), digits, cue_before(text, match.start()))
        yield from _card(text, run) or _ssn(run) or _phone(text, run, regions)


def _card(text: str, run: _Run) -> list[Finding]:
    if run.cue in ("ITEM", "ORDER_NUMBER", "TRACKING_NUMBER", "NATIONAL_ID"):
        return []
    groups = list(_GROUP.finditer(run.text))
    for first in range(len(groups)):
        for last in _ends(groups, first):
            if _is_card("".join(group[0] for group in groups[first : last + 1])):
                start, end = groups[first].start(), groups[last].end()
                return [Finding(run.start + start, run.start + end, "CREDIT_CARD")]
    if _speaks_of_a_card(text, run) and 12 <= len(run.digits) <= _LONGEST_CARD:
        return [Finding(run.start, run.end, "CREDIT_CARD", 0.9)]
    return []


def _ends(groups: Sequence[re.Match[str]], first: int) -> Iterator[int]:
    """With which groups a number that begins with `first` may end, the longest first."""
    last, digits = first, len(groups[first][0])
    while last + 1 < len(groups) and digits + len(groups[last + 1][0]) <= _LONGEST_CARD:
        last += 1
        digits += len(groups[last][0])
    return iter(range(last, first - 1, -1))


def _speaks_of_a_card(text: str, run: _Run) -> bool:
    if run.cue == "PHONE_NUMBER":  # perhaps only for "number", as in "my card, number 4111"
        return len(run.digits) > 12 and has_cue(text, run.start, "CREDIT_CARD")
    return run.cue == "CREDIT_CARD"


def _is_card(digits: str) -> bool:
    issuers = _ISSUERS.get(len(digits))
    return issuers is not None and issuers.match(digits) is not None and luhn(digits)


def _ssn(run: _Run) -> list[Finding]:
    if _SSN.fullmatch(run.text) or (run.cue == "US_SSN" and len(run.digits) == 9):
        return [Finding(run.start, run.end, "US_SSN")]
    return []


def _phone(text: str, run: _Run, regions: Sequence[str]) -> list[Finding]:
    found = [Finding(run.start, run.end, "PHONE_NUMBER", 0.8)]
    length = len(run.digits)
    if run.cue == "PHONE_NUMBER" and 5 <= length <= 15:
        return found
    if run.cue in _NOT_A_PHONE and not run.text.startswith("+"):
        return []
    if run.cue in ("POSTAL_CODE", "DATE_OF_BIRTH", "IP_ADDRESS", "NATIONAL_ID", "US_SSN"):
        return []
    if run.text.startswith("+") and 8 <= length <= 15:
        return found
    if "\n" in run.text or not 7 <= length <= 15 or _DATE.match(run.text):
        return []
    if run.text.startswith("(") or _WORD_AFTER.match(text, run.end):
        return found
    alone = text.rfind("\n", 0, run.start) + 1 == run.start and _OWN_LINE.match(text, run.end)
    if alone and run.start > 0:
        return found
    grouped = not run.text.isdigit()
    return found if grouped and _is_valid(run.text, regions) else []


def _is_valid(text: str, regions: Sequence[str]) -> bool:
    """Whether a phone in one of the regions can have this number."""
    for region in regions:
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return True
    return False
