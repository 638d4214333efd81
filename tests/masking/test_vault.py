"""Placeholders come back, wherever a stream was cut, and only to whom they belong."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.errors import CrossTenantError
from isolation.masking.vault import RequestVault
from isolation.testing.contexts import tenant_for_tests

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
VALUES = {
    "<PERSON_1>": "Maria",
    "<PERSON_2>": "<PERSON_1>",
    "<PERSON_12>": "Ada",
    "<LITERAL_1>": "<EMAIL_ADDRESS_1>",
}
VAULT = RequestVault(FJELLVIK, VALUES)
TEXT = "Dear <PERSON_1>, <PERSON_12>; <PERSON_2> and <LITERAL_1>, <PERSON_3>, <PERS and 1 < 2 <"
RESTORED = "Dear Maria, Ada; <PERSON_1> and <EMAIL_ADDRESS_1>, <PERSON_3>, <PERS and 1 < 2 <"


@given(st.lists(st.integers(0, len(TEXT)), max_size=20))
def test_a_stream_is_restored_wherever_it_was_cut(cuts: list[int]) -> None:
    stream = VAULT.stream(FJELLVIK)
    bounds = [0, *sorted(cuts), len(TEXT)]
    pieces = [TEXT[a:b] for a, b in pairwise(bounds)]
    assert "".join([stream.feed(piece) for piece in pieces]) + stream.flush() == RESTORED


def test_only_what_may_become_a_placeholder_is_held_back() -> None:
    stream = VAULT.stream(FJELLVIK)
    assert stream.feed("Dear <PERSON_") == "Dear "
    assert stream.feed("1>!") == "Maria!"
    assert stream.feed("1 < 2") == "1 < 2"


def test_another_tenant_cannot_restore() -> None:
    assert VAULT.restore(FJELLVIK, "<PERSON_1>") == "Maria"
    with pytest.raises(CrossTenantError):
        VAULT.restore(VOLTBAY, "<PERSON_1>")


def test_a_vault_shows_no_values() -> None:
    assert "Maria" not in repr(VAULT)
