"""The prompt: what of it the next turn finds in the cache, and what fits into it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.errors import CrossTenantError
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Passage
from rag.prompt import Message, assemble

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


def _passage(text: str, ctx: object = FJELLVIK, document: str = "d") -> Passage:
    owner = VOLTBAY if ctx is VOLTBAY else FJELLVIK
    return Passage(owner.tenant_id, document, "v1", 0, "D", text, 1.0)


def _words(text: str) -> int:
    return len(text.split())


def _rendered(conversation: list[Message], passages: list[Passage], budget: int = 60) -> str:
    """As a chat template writes it: turn by turn, each with its role before it."""
    prompt = assemble(FJELLVIK, conversation, passages, token_budget=budget, count_tokens=_words)
    return "".join(f"<{turn.role}>{turn.content}" for turn in prompt.messages)


def _shared(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))


TURNS = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=20)


@given(st.lists(st.tuples(TURNS, TURNS), min_size=1, max_size=5), TURNS, TURNS, TURNS)
def test_the_next_prompt_begins_as_this_one_up_to_the_end_of_its_question(
    earlier: list[tuple[str, str]], question: str, answer: str, following: str
) -> None:
    turns = [
        Message(role, text)
        for pair in earlier
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    asked = [*turns, Message("user", question)]
    this = _rendered(asked, [_passage("Returns within 30 days.")])
    then = [*asked, Message("assistant", answer), Message("user", following)]
    after = _rendered(then, [_passage("Shipping takes two days.")])
    asked_until = this.index("\n\nSources:")
    assert this[:asked_until].endswith(f"<user>{question}")
    assert _shared(this, after) >= asked_until


def test_the_same_question_again_shares_everything_before_the_first_changed_passage() -> None:
    asked = [Message("user", "How long may I return?")]
    first, second = (
        _rendered(asked, [_passage(best), _passage("Both know this.")]) for best in ("One.", "Two.")
    )
    assert _shared(first, second) > first.index("Both know this.")


def test_a_passage_that_does_not_fit_does_not_keep_out_a_smaller_one() -> None:
    passages = [_passage("best one"), _passage("much " * 50, document="long"), _passage("small")]
    prompt = assemble(
        FJELLVIK, [Message("user", "?")], passages, token_budget=10, count_tokens=_words
    )
    assert [source.text for source in prompt.sources] == ["best one", "small"]
    assert "[1] best one" in prompt.messages[-1].content
    assert "[2] small" in prompt.messages[-1].content


def test_the_best_passage_is_cut_at_a_sentence_rather_than_left_out() -> None:
    text = "Returns are free. Within 30 days. " + "And much more is said about it. " * 20
    prompt = assemble(
        FJELLVIK, [Message("user", "?")], [_passage(text)], token_budget=10, count_tokens=_words
    )
    assert [source.text for source in prompt.sources] == ["Returns are free. Within 30 days."]


@given(st.lists(st.lists(TURNS, min_size=1, max_size=30), max_size=6), st.integers(1, 40))
def test_the_sources_never_exceed_the_budget(texts: list[list[str]], budget: int) -> None:
    passages = [_passage(". ".join(words)) for words in texts]
    prompt = assemble(
        FJELLVIK, [Message("user", "?")], passages, token_budget=budget, count_tokens=_words
    )
    used = sum(_words(f"[1] {source.text}") for source in prompt.sources)
    assert used <= budget


def test_a_passage_of_another_tenant_raises_even_if_it_would_not_fit() -> None:
    passages = [_passage("mine"), _passage("theirs " * 100, VOLTBAY)]
    with pytest.raises(CrossTenantError):
        assemble(FJELLVIK, [Message("user", "?")], passages, token_budget=5, count_tokens=_words)
