"""Text in pieces of limited length."""

from __future__ import annotations


def windows(text: str, most: int) -> list[str]:
    """The text in pieces of at most `most` characters, which end before a space where the second
    half of one has any; together they are the text."""
    pieces = []
    begin = 0
    while len(text) - begin > most:
        middle, end = begin + most // 2, begin + most
        space = max(text.rfind(mark, middle, end) for mark in " \n\t")
        end = space if space > middle else end
        pieces.append(text[begin:end])
        begin = end
    if begin < len(text):
        pieces.append(text[begin:])
    return pieces
