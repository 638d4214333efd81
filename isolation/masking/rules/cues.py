"""Words that say what comes next: "card", "call me on", "order number"."""

from __future__ import annotations

import re

_WINDOW = 56

_CUES = {
    "CREDIT_CARD": r"(?:credit|debit|bank)?\s?cards?(?: (?:number|no\.?|ending))?|visa|master ?card"
    r"|amex|american express|maestro|discover|cc|charged|paid (?:with|by)"
    r"|payment methods?|card_?number|pan",
    "PHONE_NUMBER": r"(?:tele|cell|mobile |whats)?(?:phoned?|app)(?: (?:number|no\.?))?|tel\.?"
    r"|mobile(?: number)?|cell|call(?:ed|ing)?(?: me| us)?(?: back)?|ring(?: me)?|text(?: me)?"
    r"|sms|reach (?:me|us|him|her)|dial|fax|hotline|whatsapp|contact|number|nr\.?|handy|telefon",
    "US_SSN": r"ssn|social(?: security)?(?: (?:number|no\.?))?|tax id",
    "ORDER_NUMBER": r"orders?(?: (?:number|no\.?|id|nr\.?))?|order_?(?:id|number)|purchase"
    r"|invoice(?: (?:number|no\.?))?|booking|reference|rma|ticket|cancel|return number",
    "TRACKING_NUMBER": r"track(?:ing|ed)?(?: (?:number|no\.?|id|code))?|tracking_?(?:id|number)"
    r"|shipments?(?: (?:number|id))?|parcel(?: number)?|package(?: number)?|consignment|waybill"
    r"|awb",
    "POSTAL_CODE": r"zip(?: ?code)?|post(?:al)? ?code|postcode|plz|zip_?code|postal_?code",
    "DATE_OF_BIRTH": r"born(?: on)?|birth(?:day|date)?|date of birth|dob|d\.o\.b\.?",
    "IBAN_CODE": r"iban|bank account|account(?: number)?|konto",
    "IP_ADDRESS": r"ip(?: address)?",
    "VERSION": r"version|firmware|release|build|driver|update",
    "ITEM": r"items?(?: (?:number|no\.?|id))?|products?|article|sku|model|variant|part|serial|ean"
    r"|gtin|isbn|item_?id|product_?id|size",
    "NATIONAL_ID": r"nhs(?: (?:number|no\.?))?|pesel|aadhaar|uid|national id|id number|passport",
}
_PATTERN = re.compile(
    "|".join(f"(?P<{kind}>(?<![^\\W_])(?:{words})(?![^\\W_]))" for kind, words in _CUES.items()),
    re.IGNORECASE,
)


def cue_before(text: str, start: int, *, window: int = _WINDOW) -> str | None:
    """The kind that the last cue before `start` announces."""
    last = None
    for match in _PATTERN.finditer(text, max(0, start - window), start):
        last = match.lastgroup
    return last


def has_cue(text: str, start: int, kind: str, *, window: int = _WINDOW) -> bool:
    """Whether a cue of `kind` stands before `start`, possibly with others after it."""
    matches = _PATTERN.finditer(text, max(0, start - window), start)
    return any(match.lastgroup == kind for match in matches)
