"""All rules, as one function over one text."""

from __future__ import annotations

from collections.abc import Iterator

from isolation.masking.findings import Finding
from isolation.masking.rules.addresses import addresses
from isolation.masking.rules.codes import (
    births,
    emails,
    handles,
    ibans,
    orders_and_parcels,
    postal_codes,
)
from isolation.masking.rules.encoded import encoded
from isolation.masking.rules.fields import fields
from isolation.masking.rules.names import named, placed
from isolation.masking.rules.numbers import numbers
from isolation.masking.rules.spelled import spelled_digits

_RULES = (
    emails,
    ibans,
    numbers,
    orders_and_parcels,
    postal_codes,
    births,
    handles,
    addresses,
    named,
    placed,
    spelled_digits,
    fields,
)
ENTITIES = (
    "PERSON",
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "US_SSN",
    "STREET_ADDRESS",
    "POSTAL_CODE",
    "DATE_OF_BIRTH",
    "USERNAME",
    "ORDER_NUMBER",
    "TRACKING_NUMBER",
)


def find(text: str) -> Iterator[Finding]:
    """What the rules find in a normalized text."""
    yield from _plain(text)
    yield from encoded(text, _plain)


def _plain(text: str) -> Iterator[Finding]:
    for rule in _RULES:
        yield from rule(text)
