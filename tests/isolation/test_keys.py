"""API keys: full entropy, stored as digests, and alike in refusal."""

from __future__ import annotations

import pytest

from isolation.keys import NO_KEY_ID, issue_key, matches, parse_key


def test_an_issued_key_is_recognized_and_another_is_not() -> None:
    fjellvik, voltbay = issue_key(), issue_key()
    assert matches(parse_key(fjellvik.text), fjellvik.digest)
    assert not matches(parse_key(fjellvik.text), voltbay.digest)


def test_the_secret_of_one_key_does_not_open_the_id_of_another() -> None:
    fjellvik, voltbay = issue_key(), issue_key()
    secret = fjellvik.text.split("_", 2)[2]
    crossed = parse_key(f"bk_{voltbay.key_id}_{secret}")
    assert crossed.key_id == voltbay.key_id
    assert not matches(crossed, voltbay.digest)


def test_an_unknown_key_matches_nothing() -> None:
    assert not matches(parse_key(issue_key().text), None)


@pytest.mark.parametrize("text", ["", "bk_", "sk-123", "bk_short_short", "bk_" + "a" * 16 + "_é"])
def test_a_malformed_key_parses_to_one_that_cannot_exist(text: str) -> None:
    presented = parse_key(text)
    assert presented.key_id == NO_KEY_ID
    assert not matches(presented, None)


def test_the_secret_is_in_no_repr() -> None:
    key = issue_key()
    assert key.text.split("_", 2)[2] not in repr(key)
