"""Term weights in a space of the tenant's own."""

from __future__ import annotations

import pytest
from qdrant_edge import Bm25

from isolation.tenant_id import tenant_id
from rag.store import terms
from rag.store.terms import TermCounter, TermSpace

FJELLVIK, VOLTBAY = tenant_id("fjellvik"), tenant_id("voltbay")
TEXT = "Boots and tents: boots are returned within thirty days, tents within sixty."


@pytest.mark.parametrize("counted", ["of_document", "of_query"])
def test_two_tenants_have_no_term_in_common_and_the_same_weights(counted: str) -> None:
    count = getattr(TermCounter(TermSpace.own), counted)
    mine, foreign = count(FJELLVIK, TEXT), count(VOLTBAY, TEXT)
    assert len(mine.indices) == len(set(mine.indices)) == len(foreign.indices) > 5
    assert not set(mine.indices) & set(foreign.indices)
    assert mine.values == foreign.values
    assert count(FJELLVIK, TEXT) == mine
    # The control: what all share is the same for both.
    shared = getattr(TermCounter(TermSpace.shared), counted)
    assert shared(FJELLVIK, TEXT) == shared(VOLTBAY, TEXT)


def test_a_querys_terms_are_a_passages() -> None:
    counter = TermCounter(TermSpace.own)
    passage, query = counter.of_document(FJELLVIK, TEXT), counter.of_query(FJELLVIK, "tents")
    assert set(query.indices) <= set(passage.indices)


def test_a_terms_dimension_is_the_same_for_ever() -> None:
    """Another one would lose what is stored, and nothing would say so."""
    (term,) = Bm25().embed_query("tents").indices
    assert list(terms._own(FJELLVIK, [term, 0])) == [2311516370, 2534244845]


def test_terms_that_fall_together_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine refuses a vector that names a dimension twice."""
    whole = TermCounter(TermSpace.own).of_document(FJELLVIK, TEXT)
    monkeypatch.setattr(terms, "_own", lambda _, indices: [7 for _ in indices])
    together = TermCounter(TermSpace.own).of_document(FJELLVIK, TEXT)
    assert together.indices == [7]
    assert together.values == [pytest.approx(sum(whole.values))]


def test_a_text_without_words_has_no_terms() -> None:
    assert TermCounter(TermSpace.own).of_query(FJELLVIK, "?!").indices == []
