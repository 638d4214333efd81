"""E-mail, IBAN, order and tracking numbers, postal codes, dates of birth, handles."""

from __future__ import annotations

import re
from collections.abc import Iterator

from isolation.masking.findings import Finding
from isolation.masking.rules.checksums import IBAN_LENGTHS, iban, s10
from isolation.masking.rules.cues import cue_before, has_cue
from isolation.masking.rules.words import NOT_A_NAME

_EMAIL = re.compile(r"[\w.!#$&'*+=?^`{|}~-]*[\w&+-]@[^\W_][\w-]*(?:\.[\w-]*[^\W_])+")
_DOT = r"\s?(?:\.|[(\[{]\s?(?:\.|dot|punkt)\s?[)\]}]|\bdot\b)\s?"
_AT = r"\s?(?:@|[(\[{]\s?(?:@|at)\s?[)\]}]|\bat\b)\s?"
_PART = r"[\w+-]+(?:\s(?:underscore|dash|minus|plus)\s[\w+-]+)*"
_TLD = r"(?:com|net|org|edu|gov|info|biz|io|co|eu|uk|us|de|fr|es|it|nl|no|se|dk|fi|pl|in|ch|at|be)"
_SPOKEN = re.compile(
    rf"(?<![\w@.]){_PART}(?:{_DOT}{_PART})*{_AT}[\w-]+(?:{_DOT}[\w-]+)*?{_DOT}{_TLD}"
    rf"(?:{_DOT}{_TLD})?(?!\w|\s?@)",
    re.IGNORECASE,
)
_SAYS_AT = re.compile(r"@|\bat\b", re.IGNORECASE)
_LETTER_BY_LETTER = re.compile(
    r"(?<!\w)(?:[\w.+-]\s){2,}(?:[\w.+-]\s?)*@(?:\s?[\w.-](?!\w))+(?:\s?\.\s?\w(?:\s\w)*)?"
)
_BROKEN_EMAIL = re.compile(r"[\w.+-]+@\n[\w-]+(?:\.[\w-]+)+")
_IBAN = re.compile(r"(?<![^\W_])([A-Z]{2})[ -]?(\d\d)((?:[ \n-]?[A-Z0-9]){11,30})", re.IGNORECASE)
_HASH_NUMBER = re.compile(r"#[A-Z]{0,4}-?\d{4,}\b", re.IGNORECASE)
_CODE = re.compile(
    r"(?<![\w@.#/-])#?(?=[\w-]*\d)[A-Z0-9][\w-]{3,}[A-Z0-9](?![\w@]|[.,]\d)", re.IGNORECASE
)
_S10 = re.compile(r"\b[A-Z]{2}\d{9}[A-Z]{2}\b")
_UPS = re.compile(r"\b1Z[0-9A-Z]{16}\b")
_POSTAL = re.compile(
    r"\b[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b|\b[A-Z]\d[A-Z] \d[A-Z]\d\b"
    r"|(?<=\b[A-Z]{2} )\d{5}(?:-\d{4})?\b|\b\d{5}-\d{4}\b"
)
_POSTAL_BY_CUE = re.compile(
    r"\b(?:[A-Z]{1,2}-)?(?:\d{2,5}(?:[ -]\d{2,4})?(?: ?[A-Z]{2}\b)?"
    r"|[A-Z]\d[A-Z\d]{0,2} ?\d[A-Z][A-Z\d])\b",
    re.IGNORECASE,
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = re.compile(
    r"\b(?:\d{1,4}[/.\- ]\d{1,2}[/.\- ]\d{2,4}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH},? \d{{4}}"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}})\b",
    re.IGNORECASE,
)
_HANDLE = re.compile(r"(?<![\w@./])@[A-Za-z_][\w.]{2,29}\b(?!@)")
_NAMED_WITH_NUMBER = re.compile(r"\b[a-z]{2,20}_[a-z]{2,20}_\d{2,6}\b")
_USERNAME = re.compile(
    r"\b(?:my account|the account|user ?names?|user[ _]id|log ?in(?: name)?|log in as|handle"
    r"|nick ?name|account name|signed in as|logged in as|screen name)\b"
    r"\s*(is|:|=|as|\")?\s*[\"']?@?([\w.-]{2,30}[\w])",
    re.IGNORECASE,
)


def emails(text: str) -> Iterator[Finding]:
    """E-mail addresses, spelled out and spaced ones too."""
    if not _SAYS_AT.search(text):
        return
    for pattern, score in (
        (_EMAIL, 1.0),
        (_SPOKEN, 0.9),
        (_LETTER_BY_LETTER, 0.9),
        (_BROKEN_EMAIL, 0.9),
    ):
        yield from (Finding(*m.span(), "EMAIL_ADDRESS", score) for m in pattern.finditer(text))


def ibans(text: str) -> Iterator[Finding]:
    """IBANs of every country, with spaces or without; a wrong check digit only after the word."""
    for match in _IBAN.finditer(text):
        length = IBAN_LENGTHS.get(match[1].upper())
        if length is None:
            continue
        end, count = match.start(), 0
        while end < match.end() and count < length:
            count += text[end].isalnum()
            end += 1
        code = re.sub(r"[^A-Z0-9]", "", text[match.start() : end].upper())
        if len(code) == length and (iban(code) or cue_before(text, match.start()) == "IBAN_CODE"):
            yield Finding(match.start(), end, "IBAN_CODE")


def orders_and_parcels(text: str) -> Iterator[Finding]:
    """Order and tracking numbers: by their form, or by the word before them."""
    for match in _HASH_NUMBER.finditer(text):
        if cue_before(text, match.start()) not in ("ITEM", "VERSION"):
            yield Finding(*match.span(), "ORDER_NUMBER", 0.8)
    for match in (*_UPS.finditer(text), *(m for m in _S10.finditer(text) if s10(m[0]))):
        yield Finding(*match.span(), "TRACKING_NUMBER")
    for match in _CODE.finditer(text):
        cue = cue_before(text, match.start(), window=28)
        if cue in ("ORDER_NUMBER", "TRACKING_NUMBER") and _is_code(match[0], cue):
            yield Finding(*match.span(), cue, 0.7)


def _is_code(text: str, cue: str) -> bool:
    digits = sum(map(str.isdigit, text))
    return digits >= (4 if cue == "ORDER_NUMBER" else 7)


def postal_codes(text: str) -> Iterator[Finding]:
    """British, Canadian and American ones by form, any other by the word before it."""
    for match in _POSTAL.finditer(text):
        if cue_before(text, match.start(), window=24) not in ("ITEM", "ORDER_NUMBER"):
            yield Finding(*match.span(), "POSTAL_CODE", 0.7)
    for match in _POSTAL_BY_CUE.finditer(text):
        near = has_cue(text, match.start(), "POSTAL_CODE", window=40)
        if near and cue_before(text, match.start(), window=40) == "POSTAL_CODE":
            yield Finding(*match.span(), "POSTAL_CODE", 0.8)


def births(text: str) -> Iterator[Finding]:
    """Dates, where something before them speaks of a birth."""
    for match in _DATE.finditer(text):
        if has_cue(text, match.start(), "DATE_OF_BIRTH"):
            yield Finding(*match.span(), "DATE_OF_BIRTH", 0.9)


def handles(text: str) -> Iterator[Finding]:
    """Names of accounts: @maria_l, or what is called a user name."""
    yield from (Finding(*m.span(), "USERNAME", 0.8) for m in _HANDLE.finditer(text))
    yield from (Finding(*m.span(), "USERNAME", 0.7) for m in _NAMED_WITH_NUMBER.finditer(text))
    for match in _USERNAME.finditer(text):
        name = match[2]
        marked = any(char.isdigit() or char in "_." for char in name)
        says_so = match[1] and "account" not in match[0].lower()
        if marked or (says_so and name.lower() not in NOT_A_NAME):
            yield Finding(*match.span(2), "USERNAME", 0.8)
