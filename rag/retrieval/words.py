"""Words of English questions: which of them say what a question is about."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_](?:[^\W_]|['’-](?=\w))*")
_STOP_TEXT = """
    a about above after again ain't all also am an and any are aren't as at be because been
    before being below between both but by can can't cannot could couldn't did didn't do
    does doesn't doing don't dont down during each else few for from further get gets
    getting go going got had has have haven't having he he's her here hers herself hey hi
    him himself his how how's i i'd i'll i'm im i've ive if in instead into is isn't isnt it
    it's its itself just let let's like many may me might mine more most much must my myself
    no nor not of off ok okay on once one ones only or other others our ours out over own
    please same shall she should so some still such than thank thanks that that's thats the
    their theirs them themselves then there there's these they they're this those through to
    too under until up us very want was wasn't we we're were weren't what what's whats when
    where where's which while who whom whose why will with won't wont would yes you you're
    your yours yourself
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())
_ENDINGS = ("ing", "ed", "es", "s")


def words(text: str) -> list[str]:
    """The words in lower case, in order; any script."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def is_content(word: str) -> bool:
    """Whether it says what the text is about. In other languages every word does."""
    return word not in _STOP_WORDS


def stems(text: str) -> frozenset[str]:
    """The text's content words without their endings, roughly: enough to compare two texts."""
    return frozenset(_stem(word) for word in words(text) if is_content(word))


def _stem(word: str) -> str:
    word = word.removesuffix("'s")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 3:
            return word.removesuffix(ending).rstrip("e")
    return word.rstrip("e") if len(word) > 4 else word
