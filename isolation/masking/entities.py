"""The kinds of personal data that are looked for."""

from __future__ import annotations

BY_RULE = (
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
BY_PRESIDIO = (
    "IP_ADDRESS",
    "UK_NHS",
    "ES_NIF",
    "IT_FISCAL_CODE",
    "PL_PESEL",
    "FI_PERSONAL_IDENTITY_CODE",
    "IN_AADHAAR",
)
# Not dates, places, organizations or URLs: with them, 7 of 8 ordinary questions lost their meaning.
ENTITIES = (*BY_RULE, *BY_PRESIDIO)
# Part of what findings are cached by, and documents are masked with: change it with every change of
# what is found.
VERSION = "3"
