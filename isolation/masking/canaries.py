"""Strings that must not leave, wherever a stream was cut: an operator's tripwires.

A canary stands where no customer should ever read from, such as in internal notes. If it turns up
in an answer, something carried it out: it is removed, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

REMOVED = "[removed]"


class CanaryGuard:
    """A `StreamTransform`. Holds back only what may become a canary. `tripped` is called for each
    one that was removed."""

    def __init__(self, canaries: Iterable[str], tripped: Callable[[], None]) -> None:
        # Longest first: one may begin with another.
        self._canaries = sorted(canaries, key=len, reverse=True)
        self._tripped = tripped
        self._held = ""

    def feed(self, text: str) -> str:
        return self._cleaned(self._held + text, final=False)

    def flush(self) -> str:
        return self._cleaned(self._held, final=True)

    def _cleaned(self, text: str, *, final: bool) -> str:
        out: list[str] = []
        position = 0
        self._held = ""
        while position < len(text) and self._canaries:
            start = self._next(text, position)
            out.append(text[position:start])
            if not final and self._may_grow(text[start:]):
                self._held = text[start:]
                return "".join(out)
            found = next((c for c in self._canaries if text.startswith(c, start)), None)
            if found is not None:
                self._tripped()
            out.append(REMOVED if found else text[start : start + 1])
            position = start + (len(found) if found else 1)
        return "".join([*out, text[position:]])

    def _next(self, text: str, position: int) -> int:
        """The next place where a canary's first character stands."""
        places = (text.find(canary[0], position) for canary in self._canaries)
        return min((place for place in places if place >= 0), default=len(text))

    def _may_grow(self, tail: str) -> bool:
        return any(len(tail) < len(c) and c.startswith(tail) for c in self._canaries if tail)
