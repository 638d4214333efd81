"""Where a sentence ends. No grammar: a full stop, a line, a row of a table.

LlamaIndex's sentence splitters take seconds to import, which a gateway that ingests nothing saves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# A line that goes on in lower case was wrapped; rows of one Markdown table belong to its header.
_END = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][)\]\"'»”])\s+|\n\s*\n|\n+(?![a-zß-öø-ÿ|])")
# "1. Send it back" is one sentence.
_NUMBER = re.compile(r"\s*\d{1,3}\.")


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each sentence, without the blanks around it."""
    begin = 0
    for found in [*_END.finditer(text), None]:
        end = len(text) if found is None else found.start()
        if found is not None and _NUMBER.fullmatch(text, begin, end):
            continue
        if text[begin:end].strip():
            yield begin, end
        begin = end if found is None else found.end()
