"""Rules, without a model: what they find, what they leave alone, and that their time is bounded."""

from __future__ import annotations

import pytest

from isolation.masking.findings import without_overlaps
from isolation.masking.rules import all as rules
from isolation.masking.rules.checksums import iban, luhn, s10


def _found(text: str) -> list[tuple[str, str]]:
    findings = without_overlaps(rules.find(text))
    return [(found.entity, text[found.start : found.end]) for found in findings]


@pytest.mark.parametrize(
    ("text", "entity", "value"),
    [
        ("write to a.b+c@mail.example.com.", "EMAIL_ADDRESS", "a.b+c@mail.example.com"),
        ("ada dot lind at example dot org", "EMAIL_ADDRESS", "ada dot lind at example dot org"),
        ("my phone is 062 441 80 19", "PHONE_NUMBER", "062 441 80 19"),
        ("I paid with 4111 1111 1111 1111 2 times", "CREDIT_CARD", "4111 1111 1111 1111"),
        ("my card 4111 1111 1111 1112 fails", "CREDIT_CARD", "4111 1111 1111 1112"),
        ("ssn 123-45-6789", "US_SSN", "123-45-6789"),
        ("to de89 3704 0044 0532 0130 00 please", "IBAN_CODE", "de89 3704 0044 0532 0130 00"),
        ("order ABC-12345 is late", "ORDER_NUMBER", "ABC-12345"),
        ("tracking number 357962501027", "TRACKING_NUMBER", "357962501027"),
        ("parcel RR123456785DE", "TRACKING_NUMBER", "RR123456785DE"),
        ("my zip code is 6101 BS", "POSTAL_CODE", "6101 BS"),
        ("SW1A 1AA", "POSTAL_CODE", "SW1A 1AA"),
        ("I was born on 4 May 1980", "DATE_OF_BIRTH", "4 May 1980"),
        ("find me as @ada_lind", "USERNAME", "@ada_lind"),
        ("send it to 24 Elm Street, Apt. 5, Denver, CO 80279 please", "STREET_ADDRESS",
         "24 Elm Street, Apt. 5, Denver, CO 80279"),
        ("an Hauptstraße 12a", "STREET_ADDRESS", "Hauptstraße 12a"),
        ("my name is ada lind and I wait", "PERSON", "ada lind"),
        ("Regards,\nAda Lind", "PERSON", "Ada Lind"),
        ('{"first_name": "ada"}', "PERSON", "ada"),
        ("call four one one four one one four", "PHONE_NUMBER", "four one one four one one four"),
        ("bGVuYUBleGFtcGxlLmNvbQ==", "EMAIL_ADDRESS", "bGVuYUBleGFtcGxlLmNvbQ=="),
    ],
)  # fmt: skip
def test_personal_data_is_found_whole(text: str, entity: str, value: str) -> None:
    assert (entity, value) in _found(text)


@pytest.mark.parametrize(
    "text",
    [
        "I am waiting for a refund of $1,299.00 since 2026-11-02 10:30:12.",
        "item 9523456873 costs 1.349,00 kr and 59 euros at the store",
        "version 2.4.1.0 of the firmware, 1920 x 1080",
        "washed at 60 degrees, delivered to 12 countries in 3 to 5 days",
        "This is about my order. Best regards from Oslo",
        '{"name": "Water Bottle", "price": 47.84, "item_id": "6469567736"}',
        "two or three of the four boxes, one at a time",
        "c29tZSBwbGFpbiB3b3JkcyBvbmx5",
    ],
)
def test_what_a_shop_talks_about_is_left_alone(text: str) -> None:
    assert _found(text) == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit", ["a.", "A.", "1 ", "1.1.", "a-", "a'", "(1)", "a@a.", "12 Ab ", "to "]
)
def test_no_text_makes_a_rule_run_away(unit: str) -> None:
    """Nested repetition took minutes on 2,000 characters of some of these."""
    list(rules.find(unit * 4_000))


def test_check_digits() -> None:
    assert luhn("4111111111111111")
    assert not luhn("4111111111111112")
    assert iban("CH9300762011623852957")
    assert not iban("CH9300762011623852958")
    assert s10("RR123456785DE")
    assert not s10("RR123456784DE")
