"""A tenant's evaluation set: what its lines mean, and what an answer is worth."""

from __future__ import annotations

import pytest

from serving.rollout.evaluation import Case, InvalidEvaluationSetError, read_cases, states

CASE = Case(question="How long?", facts=("30 days", "free of charge"), never=("14 days",))


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("Within 30 Days, free\nof charge.", 1.0),
        ("Within 30 days.", 0.5),
        ("Within 130 days.", 0.0),
        ("Within 30 days, free of charge, or 14 days.", 0.0),
        ("", 0.0),
    ],
)
def test_an_answer_is_worth_the_share_of_its_facts(answer: str, score: float) -> None:
    assert CASE.score(answer) == score


def test_a_fact_stands_in_whole_words() -> None:
    assert states("It is C++, for 2 years.", "c++")
    assert not states("It is for 12 years.", "2 years")


def test_a_set_is_read_line_by_line() -> None:
    text = '{"question": "a", "facts": ["b"]}\n\n{"question": "c", "facts": ["d"], "never": ["e"]}'
    assert read_cases(text) == [
        Case(question="a", facts=("b",)),
        Case(question="c", facts=("d",), never=("e",)),
    ]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "Between 1 and"),
        ('{"question": "a", "facts": ["b"]}\n{"question": "secret"', "Line 2: the line"),
        ('{"question": "secret", "facts": []}', "Line 1: facts"),
        ('{"question": "", "facts": ["secret"]}', "Line 1: question"),
        ('{"question": "a", "facts": ["b"], "secret": 1}', "Line 1: "),
    ],
)
def test_what_is_no_set_is_said_by_its_line_and_without_its_text(text: str, where: str) -> None:
    with pytest.raises(InvalidEvaluationSetError, match=where) as raised:
        read_cases(text)
    assert ": secret" not in raised.value.message.replace("Line 1: secret", "")
