"""A tenant's own evaluation set: questions, and what a right answer states.

One JSON object on each line: `{"question": "How long may I return?", "facts": ["30 days"],
"never": ["14 days"]}`.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from isolation.errors import BulkheadError

_MOST_CASES = 10_000
_Fact = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
_Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)]


class InvalidEvaluationSetError(BulkheadError):
    """A line is no case; the message says which, and none of its text."""

    code = "invalid_evaluation_set"


class Case(BaseModel):
    """One question. facts: what a right answer states. never: what no right answer states."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: _Question
    facts: tuple[_Fact, ...] = Field(min_length=1, max_length=20)
    never: tuple[_Fact, ...] = Field((), max_length=20)

    def score(self, answer: str) -> float:
        """From 0 to 1: the share of the facts that the answer states; 0 with one that it must not
        state."""
        if any(states(answer, fact) for fact in self.never):
            return 0.0
        return sum(states(answer, fact) for fact in self.facts) / len(self.facts)


def read_cases(text: str) -> list[Case]:
    """The cases of an evaluation set, in order.

    Raises:
        InvalidEvaluationSetError: a line is none, or there are none or too many.
    """
    cases = [
        _case(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()
    ]
    if not 1 <= len(cases) <= _MOST_CASES:
        raise InvalidEvaluationSetError(f"Between 1 and {_MOST_CASES:,} questions, one a line.")
    return cases


def states(text: str, fact: str) -> bool:
    """Whether a text holds the fact as whole words: `2 years` does not stand in `12 years`."""
    pattern = rf"(?<!\w){re.escape(_plain(fact))}(?!\w)"
    return re.search(pattern, _plain(text)) is not None


def _case(number: int, line: str) -> Case:
    try:
        return Case.model_validate_json(line)
    except ValidationError as error:
        what = error.errors(include_input=False, include_context=False, include_url=False)[0]
        where = ".".join(map(str, what["loc"])) or "the line"
        raise InvalidEvaluationSetError(f"Line {number}: {where}: {what['msg']}.") from None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
