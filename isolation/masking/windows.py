"""Long texts are analysed a window at a time, so that nobody waits for the whole of another's.

Neighbours overlap: what is no longer than the overlap is whole in one of them, with what stands
before it or behind it.
"""

from __future__ import annotations

from collections.abc import Iterator

# Characters. A window takes a worker some 100 ms; no name, address or number is longer than an
# overlap.
WINDOW, OVERLAP = 2_000, 400
# So far a cut is moved to stand between two words.
_WORD = 100


def windows(text: str) -> Iterator[tuple[int, str]]:
    """The windows of a text, each with where it begins; a text of one window is its own."""
    begin = 0
    while len(text) - begin > WINDOW:
        end = _between_words(text, begin + WINDOW)
        yield begin, text[begin:end]
        begin = _between_words(text, end - OVERLAP)
    yield begin, text[begin:]


def _between_words(text: str, place: int) -> int:
    """The nearest place before, at which a word begins; this one, where none is near."""
    for near in range(place, place - _WORD, -1):
        if text[near - 1].isspace():
            return near
    return place
