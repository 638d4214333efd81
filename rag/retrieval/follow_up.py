"""A turn of a conversation as a search: what it leaves out is taken from the turns before it.

No model is asked: a turn that points back ("and for the other one?") is searched together with the
customer's turn before it and the answer to that; one that stands alone is left alone. Everything
comes from the conversation that is given: nothing is remembered between two calls.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.prompt import Message
from rag.retrieval.words import is_content, words

_POINTING_WORDS = """
    it it's its they them their theirs this that these those that's thats one ones same
    other others former latter such he him she her instead else
"""
_POINTING = frozenset(_POINTING_WORDS.split())
# "It" after so many content words mostly means something in the question itself.
_REFERENT_WORDS = 3
_ELLIPTIC_WORDS = 2
_OPENING = re.compile(
    r"(?:(?:ok|okay|nice|great|thanks|thank you|good|hm+|yes|no|sure|right|well|cool|fine)\W+)*"
    r"(?:and|but|or|so|then|also|plus|what about|how about|what if|why|too)\b",
    re.IGNORECASE,
)
# An answer may be long, and what it is about stands at its beginning.
_CONTEXT_WORDS = 50


@dataclass(frozen=True, slots=True)
class Question:
    """What to search for. `context`: what the text leaves unsaid; empty if it stands alone."""

    text: str
    context: str = ""

    @property
    def whole(self) -> str:
        """The question with its context."""
        return f"{self.context} {self.text}".strip()


def question_of(conversation: Sequence[Message]) -> Question:
    """The last turn of `conversation` as a search."""
    text = conversation[-1].content
    if not points_back(text):
        return Question(text)
    return Question(text, _context(conversation[:-1]))


def points_back(text: str) -> bool:
    """Whether the text says what it is about only together with what came before."""
    if _OPENING.match(text.strip()):
        return True
    before = 0
    for word in words(text):
        if word in _POINTING and before < _REFERENT_WORDS:
            return True
        before += is_content(word)
    return before <= _ELLIPTIC_WORDS


def _context(earlier: Sequence[Message]) -> str:
    """The last turn of the customer, and the last answer if it is the answer to that."""
    turns = [turn for turn in earlier if turn.role != "system"]
    asked = [index for index, turn in enumerate(turns) if turn.role == "user"]
    recent = turns[asked[-1] :][:2] if asked else []
    return " ".join(" ".join(turn.content.split()[:_CONTEXT_WORDS]) for turn in recent)
