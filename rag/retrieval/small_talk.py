"""Greetings and thanks: turns that no document answers, and that need no excuse for it."""

from __future__ import annotations

import re

from rag.retrieval.words import words

_SAID = re.compile(
    r"how are you(?: doing)?(?: today)?|nice to meet you|have a (?:nice|good|great) day"
    r"|(?:can|could) you help(?: me)?(?: please)?|i (?:have a question|need help|need some help)"
    r"|are you (?:there|a bot|a robot|human|a human|a person|real)|who are you|good"
    r"(?: morning| afternoon| evening| day| night)|that's (?:all|it|great|good)|see you"
)
_GREETING_WORDS = """
    hi hello hey hallo hiya greetings thanks thank thx ty cheers bye goodbye welcome ok okay
    great perfect super cool nice wonderful awesome lovely
"""
_GREETING = frozenset(_GREETING_WORDS.split())
_FILLER_WORDS = """
    you very much so a lot for your the help there everyone again then
"""
_FILLER = frozenset(_FILLER_WORDS.split())


def is_small_talk(text: str) -> bool:
    """Whether the turn greets, thanks or says goodbye, and asks nothing beside."""
    said = " ".join(words(text))
    rest = _SAID.sub(" ", said).split()
    greets = rest != said.split() or bool(_GREETING.intersection(rest))
    return greets and set(rest) <= _GREETING | _FILLER
