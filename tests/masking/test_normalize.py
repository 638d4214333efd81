"""One spelling for recognizers, and the way back to what was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.masking.normalize import normalize


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("ｌｅｎａ＠ｅｘ．ｃｏｍ", "lena@ex.com"),
        ("4\u200b1\u200b1", "411"),
        ("٠٧٨-٠٥", "078-05"),
        ("mаriа", "maria"),
        ("a&#64;b&period;com", "a@b.com"),
        ("a%40b.com", "a@b.com"),
        ("a\\u0040b.com", "a@b.com"),
        ("30\u2009\u2013\u200940", "30 - 40"),
        ("Москва", "Москва"),
        ("Πού είναι;", "Πού είναι;"),
        ("15% discount", "15% discount"),
    ],
)
def test_what_reads_alike_is_read_alike(written: str, read: str) -> None:
    assert normalize(written).text == read


def test_a_finding_leads_back_to_what_was_written() -> None:
    written = "to ｌｅｎａ&#64;ex.com now"
    normalized = normalize(written)
    start = normalized.text.index("lena")
    begin, end = normalized.original(start, start + len("lena@ex.com"))
    assert written[begin:end] == "ｌｅｎａ&#64;ex.com"


@given(st.text())
def test_every_character_leads_back_into_the_text_and_in_order(text: str) -> None:
    normalized = normalize(text)
    spans = [normalized.original(i, i + 1) for i in range(len(normalized.text))]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    if not spans:
        assert text == "" or normalized.starts == ()
