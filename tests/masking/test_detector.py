"""Presidio itself: what is masked by default, and what must stay for a question to make sense."""

from __future__ import annotations

import socket

import pytest

from evals.privacy.clean import clean
from evals.privacy.hard import hard_strings
from evals.privacy.scores import is_hidden
from isolation.masking.detector import PresidioDetector
from isolation.masking.findings import without_overlaps


@pytest.fixture(scope="module")
def detector() -> PresidioDetector:
    return PresidioDetector()


@pytest.mark.parametrize(
    ("text", "entity", "value"),
    [
        ("My name is Maria Lopez and I need help.", "PERSON", "Maria Lopez"),
        ("Write to maria.lopez@example.com please.", "EMAIL_ADDRESS", "maria.lopez@example.com"),
        ("Call me on +47 22 12 34 56 today.", "PHONE_NUMBER", "+47 22 12 34 56"),
        ("I paid with 4111 1111 1111 1111.", "CREDIT_CARD", "4111 1111 1111 1111"),
        ("Refund to DE89370400440532013000.", "IBAN_CODE", "DE89370400440532013000"),
        ("I logged in from 203.0.113.7 yesterday.", "IP_ADDRESS", "203.0.113.7"),
    ],
)
def test_personal_data_is_found(
    detector: PresidioDetector, text: str, entity: str, value: str
) -> None:
    found = without_overlaps(detector.find(text))
    assert (entity, value) in [(f.entity, text[f.start : f.end]) for f in found]


@pytest.mark.parametrize(
    "text",
    [
        "Can I return a tent within 30 days?",
        "How long does delivery to Norway take with DHL?",
        "Is there a 15% discount for students in December?",
        "What does shipping to Berlin cost for an order of 59 euros?",
        "When is your store in Oslo open on Saturday?",
        "Is model 1157853815 compatible with Bose chargers?",
        "Do you price match Dyson, and is the Jotun 4 lighter?",
    ],
)
def test_an_ordinary_question_keeps_its_meaning(detector: PresidioDetector, text: str) -> None:
    assert detector.find(text) == []


@pytest.mark.parametrize("kind", sorted({each.kind for each in hard_strings()}))
def test_disguised_values_are_masked_whole(detector: PresidioDetector, kind: str) -> None:
    for each in hard_strings():
        found = without_overlaps(detector.find(each.sample.text))
        for span in each.sample.spans if each.kind == kind else ():
            assert is_hidden(each.sample.text, span, found), each.sample.text


def test_few_clean_messages_are_touched(detector: PresidioDetector) -> None:
    touched = [sample.text for sample in clean(100, seed=1) if detector.find(sample.text)]
    assert len(touched) <= 2, touched


def test_nothing_touches_the_network(
    detector: PresidioDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the detector opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert detector.find("maria@subdomain.example.co.uk")
