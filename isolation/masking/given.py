"""What a request was given: its answers may repeat it, and no other personal data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property

from isolation.masking.masked_text import MaskedText

_NOT_COUNTED = re.compile(r"[^\w@]|_")
_PART = re.compile(r"[^\W_]+")


class Given:
    """Every text of one request, for all guards of its answers.

    What they compare with is worked out once, and only when there is something to compare: most
    answers hold no personal data. masked: passages; the values of their placeholders count.
    """

    def __init__(self, texts: Iterable[str] = (), masked: Iterable[MaskedText] = ()) -> None:
        self._clear = [*texts]
        self._masked = [*masked]

    def holds(self, value: str) -> bool:
        """Whether it was given, however it is punctuated."""
        return _counted(value) in self._all

    def holds_words(self, words: Iterable[str]) -> bool:
        """Whether all of them were given, in any order. Words are as of `parts`, case-folded."""
        return self._words.issuperset(words)

    @cached_property
    def _all(self) -> str:
        return "\n".join(map(_counted, self._texts()))

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(part.casefold() for text in self._texts() for part in parts(text))

    def _texts(self) -> Iterator[str]:
        yield from self._clear
        yield from (one.restored for one in self._masked)


def parts(text: str) -> Iterator[str]:
    """Its words, without what is between them and at their ends."""
    return (part[0] for part in _PART.finditer(text))


def _counted(text: str) -> str:
    """What tells one value from another: letters, digits and the @."""
    return _NOT_COUNTED.sub("", text).casefold()
