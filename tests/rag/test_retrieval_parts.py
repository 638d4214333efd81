"""The parts of retrieval that are pure: follow-ups, small talk, duplicates, joining, relevance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.errors import CrossTenantError
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Passage
from rag.prompt import Message
from rag.retrieval.duplicates import without_duplicates
from rag.retrieval.follow_up import Question, points_back, question_of
from rag.retrieval.joining import MAX_TOKENS, around, extend, runs_of
from rag.retrieval.relevance import relevance
from rag.retrieval.small_talk import is_small_talk

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


def _passage(text: str, ordinal: int = 0, document: str = "d", version: str = "v1") -> Passage:
    return Passage(FJELLVIK.tenant_id, document, version, ordinal, "T", text, 1.0)


def _words(text: str) -> int:
    return len(text.split())


def _asked(*turns: str) -> Question:
    roles = ("user", "assistant")
    return question_of([Message(roles[n % 2], text) for n, text in enumerate(turns)])


@pytest.mark.parametrize(
    "text",
    [
        "and for Lime Green?",
        "what about True Blue?",
        "who pays for sending it?",
        "ok thanks, and how long does that take?",
        "for everything?",
        "how much of the last one",
    ],
)
def test_a_turn_that_points_back_is_searched_with_what_it_points_to(text: str) -> None:
    question = _asked("hi", "Hello!", "Can I return a tent?", "Yes, within 30 days.", text)
    assert question.text == text
    assert question.whole == f"Can I return a tent? Yes, within 30 days. {text}"


@pytest.mark.parametrize(
    "text",
    [
        "How many days do I have to return an item?",
        "how long must i have had my debit card before i can cancel it",
        "Which carrier brings my parcel to Norway?",
        "Wie lange kann ich einen gekauften Artikel zurückgeben?",
    ],
)
def test_a_turn_that_stands_alone_is_left_alone(text: str) -> None:
    assert not points_back(text)
    assert _asked("What does express cost?", "NOK 149.", text) == Question(text)


def test_the_first_turn_has_no_context_and_a_system_turn_is_none() -> None:
    assert _asked("And this one?") == Question("And this one?")
    turns = [Message("system", "You are Ada."), Message("user", "And this one?")]
    assert question_of(turns).whole == "And this one?"


def test_a_long_answer_does_not_drown_the_question() -> None:
    question = _asked("Can I return a tent?", "word " * 5_000, "and boots?")
    assert len(question.whole.split()) < 100


@given(st.lists(st.text(max_size=30), min_size=1, max_size=7))
def test_a_search_holds_words_of_its_own_conversation_only(turns: list[str]) -> None:
    before = _asked("secret of another conversation", "yes", "and it?").whole
    whole = _asked(*turns).whole
    assert set(whole.split()) <= set(" ".join(turns).split())
    assert _asked("secret of another conversation", "yes", "and it?").whole == before


@pytest.mark.parametrize(
    "text",
    [
        "Hello",
        "hi there!",
        "Thank you very much",
        "ok great, thanks",
        "Good morning",
        "How are you?",
        "Hi, can you help me?",
        "bye",
    ],
)
def test_greetings_and_thanks_are_small_talk(text: str) -> None:
    assert is_small_talk(text)


@pytest.mark.parametrize(
    "text",
    [
        "thanks, and how long does it take?",
        "hello, where is my order",
        "for that?",
        "help",
        "it?",
        "What is the capital of Australia?",
        "ok how do i do it",
        "can you help me with my parcel",
    ],
)
def test_a_question_is_no_small_talk_however_polite(text: str) -> None:
    assert not is_small_talk(text)


LONG = "Unused items can be sent back at our cost by a label that we send you by mail. " * 4


def test_a_near_duplicate_goes_and_the_better_one_stays() -> None:
    copy = _passage(LONG + "Really.", document="copy")
    kept = without_duplicates([_passage(LONG), copy, _passage("Something else.")])
    assert [passage.text for passage in kept] == [LONG, "Something else."]


def test_two_passages_that_differ_in_a_number_both_stay() -> None:
    prices = [_passage(LONG + f"It costs {price} euros.") for price in (10, 12)]
    assert without_duplicates(prices) == prices


def test_the_same_rule_of_two_products_is_two_facts() -> None:
    rules = [_passage(f"{name} account > Fees\nThere is no fee.") for name in ("Blue", "Green")]
    assert without_duplicates(rules) == rules


@given(st.lists(st.text("abc 12.", max_size=12), max_size=8))
def test_nothing_is_added_and_the_order_stays(texts: list[str]) -> None:
    passages = [_passage(text, n) for n, text in enumerate(texts)]
    kept = without_duplicates(passages)
    assert kept == [passage for passage in passages if passage in kept]
    assert without_duplicates(kept) == kept


def _joined(found: list[Passage], neighbours: list[Passage], limit: int = 3) -> list[Passage]:
    runs = runs_of(FJELLVIK, found, limit, _words)
    extend(FJELLVIK, runs, neighbours, _words)
    return [run.passage() for run in runs]


def test_neighbours_that_were_found_become_one_passage_in_the_documents_order() -> None:
    found = [
        _passage("H\nsecond part", 1),
        _passage("Other\ntext", 0, "e"),
        _passage("G\nfirst", 0),
    ]
    one, other = _joined(found, [])
    assert (one.text, one.ordinal) == ("G\nfirst\n\nH\nsecond part", 0)
    assert other.document_id == "e"


def test_what_two_chunks_repeat_stands_once() -> None:
    found = [_passage("H\nOne sentence. A shared sentence.", 4)]
    after = _passage("H\nA shared sentence. And the end.", 5)
    (one,) = _joined(found, [after])
    assert one.text == "H\nOne sentence. A shared sentence. And the end."


def test_a_neighbour_of_another_section_stays_out() -> None:
    (one,) = _joined([_passage("H\nfound", 1)], [_passage("G\nnot asked for", 0)])
    assert one.text == "H\nfound"


@pytest.mark.parametrize("other", [{"version": "v2"}, {"document_id": "e"}, {"ordinal": 7}])
def test_only_the_next_chunk_of_the_same_version_joins(other: dict[str, object]) -> None:
    stranger = _passage("H\nstranger", 2)._replace(**other)  # type: ignore[arg-type]
    (one,) = _joined([_passage("H\nfound", 1)], [stranger])
    assert "stranger" not in one.text


def test_a_passage_stays_small_enough_to_stand_beside_others() -> None:
    chunks = [_passage("H\n" + "word " * 100, n) for n in range(9)]
    assert all(_words(one.text) <= MAX_TOKENS for one in _joined(chunks, [], limit=9))


def test_joining_goes_on_until_there_are_as_many_passages_as_asked_for() -> None:
    found = [
        _passage("H\na", 0),
        _passage("H\nb", 1),
        _passage("I\nc", 0, "e"),
        _passage("J", 0, "f"),
    ]
    assert [one.document_id for one in _joined(found, [], limit=2)] == ["d", "e"]


def test_a_foreign_passage_is_never_joined() -> None:
    foreign = _passage("H\nforeign", 1)._replace(tenant_id=VOLTBAY.tenant_id)
    with pytest.raises(CrossTenantError):
        _joined([_passage("H\nfound", 0)], [foreign])
    with pytest.raises(CrossTenantError):
        _joined([foreign], [])


def test_what_is_asked_for_around_a_run_is_just_before_and_after_it() -> None:
    runs = runs_of(FJELLVIK, [_passage("H", 0), _passage("H", 1)], 3, _words)
    assert [(s.document_id, s.version, s.first, s.last) for s in around(runs)] == [
        ("d", "v1", 2, 2)
    ]


def test_relevance_grows_with_the_cosine_and_with_shared_words() -> None:
    question = Question("How many days for returns?")
    near = _passage("Returned within 30 days.")._replace(similarity=0.5)
    far = near._replace(similarity=0.2)
    other = _passage("Speaks of boots.")._replace(similarity=0.5)
    assert relevance(question, []) == 0.0
    assert relevance(question, [far]) < relevance(question, [near])
    assert relevance(question, [other]) < relevance(question, [other, near]) <= 1.0
