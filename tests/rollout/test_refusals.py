"""Which answers decline."""

from __future__ import annotations

import pytest

from serving.rollout.refusals import declines


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n",
        "I do not know that.",
        "Sorry, I don’t know.",
        "I'm unable to help with that.",
        "The sources give no information about returns.",
    ],
)
def test_who_says_nothing_or_does_not_know_declines(answer: str) -> None:
    assert declines(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "You have 30 days [1].",
        "You can return it, and you cannot exchange it.",
        "x" * 300 + " I do not know.",
    ],
)
def test_who_answers_does_not_decline(answer: str) -> None:
    assert not declines(answer)
