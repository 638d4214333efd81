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
from isolation.masking.rules.numbers import REGIONS, numbers
from isolation.masking.rules.spelled import spelled_digits

_RULES = (
    emails,
    ibans,
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


def find(text: str, locale: str | None = None) -> Iterator[Finding]:
    """What the rules find in a normalized text."""
    yield from _plain(text, locale)
    yield from encoded(text, _plain)


def _plain(text: str, locale: str | None = None) -> Iterator[Finding]:
    yield from numbers(text, REGIONS if locale is None else (locale,))
    for rule in _RULES:
        yield from rule(text)
