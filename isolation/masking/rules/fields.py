"""Values whose field's name says what they are: JSON, query strings, `key: value` lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from isolation.masking.findings import Finding

_KINDS = {
    "PERSON": r"(?:full|first|last|sur|given|family|middle|customer|recipient|contact|account"
    r"|card)?[_ -]?(?:holder[_ -]?)?names?|recipient|surname|card[_ -]?holder|account[_ -]?holder"
    r"|contact[_ -]?person|vorname|nachname",
    "EMAIL_ADDRESS": r"e-?mails?(?:[_ -]?address)?",
    "PHONE_NUMBER": r"(?:tele|mobile[_ -]?|cell[_ -]?)?phone(?:[_ -]?(?:number|no))?|mobile|tel"
    r"|cell|fax",
    "STREET_ADDRESS": r"(?:(?:shipping|billing|delivery|home|street|postal|mailing)[_ -]?)?address"
    r"(?:[_ -]?(?:line)?[_ -]?[12])?|street(?:[_ -]?name)?",
    "POSTAL_CODE": r"zip(?:[_ -]?code)?|post(?:al)?[_ -]?code|plz",
    "US_SSN": r"ssn|social[_ -]?security[_ -]?(?:number|no)",
    "DATE_OF_BIRTH": r"dob|birth[_ -]?(?:day|date)|date[_ -]?of[_ -]?birth",
    "USERNAME": r"user[_ -]?(?:name|id)|login|nick[_ -]?name",
    "ORDER_NUMBER": r"order[_ -]?(?:id|number|no|nr)",
    "TRACKING_NUMBER": r"tracking[_ -]?(?:id|number|no|code)",
    "CREDIT_CARD": r"card[_ -]?(?:number|no)|credit[_ -]?card|pan",
    "IBAN_CODE": r"iban",
    "IP_ADDRESS": r"ip(?:[_ -]?address)?",
}
_KEY = "|".join(f"(?P<{kind}>{names})" for kind, names in _KINDS.items())
# In JSON inside JSON, a quote is written \\".
_QUOTED = re.compile(
    rf"(?<![\w])\\?[\"'](?:{_KEY})\\?[\"']\s*[:=]\s*\\?[\"](?P<value>(?:[^\"\\]|\\[^\"])+)",
    re.IGNORECASE,
)
_QUERY = re.compile(rf"(?:(?<=[?&])|^)(?:{_KEY})=(?P<value>[^&\s#]+)", re.IGNORECASE)
_LINE = re.compile(
    rf"(?:^|\n)[ \t>*-]*(?:{_KEY})[ \t]*[:=][ \t]*"
    r"(?P<value>[^\n,;|<>{}]{2,80}?)[ \t]*(?=[\n,;|]|$)",
    re.IGNORECASE,
)
_GOODS = re.compile(r"product|item|price|sku|variant|category|brand", re.IGNORECASE)
_AROUND = 80
_WITH_DIGITS = {
    "PHONE_NUMBER": 5,
    "POSTAL_CODE": 2,
    "US_SSN": 4,
    "DATE_OF_BIRTH": 4,
    "CREDIT_CARD": 8,
}


def fields(text: str) -> Iterator[Finding]:
    """Values of fields that hold personal data."""
    if ":" not in text and "=" not in text:
        return
    for pattern in (_QUOTED, _QUERY, _LINE):
        for match in pattern.finditer(text):
            kind = next(name for name in _KINDS if match[name] is not None)
            if _fits(text, match, kind):
                yield Finding(*match.span("value"), kind, 0.9)


def _fits(text: str, match: re.Match[str], kind: str) -> bool:
    value = match["value"]
    if sum(map(str.isdigit, value)) < _WITH_DIGITS.get(kind, 0):
        return False
    if kind != "PERSON":
        return any(map(str.isalnum, value))
    around = text[max(0, match.start() - _AROUND) : match.end() + _AROUND]
    words = value.split()
    return len(words) <= 5 and not any(map(str.isdigit, value)) and not _GOODS.search(around)
