"""Where a sentence ends, for what cuts passages. No grammar: a full stop, a line, a row of a table.

LlamaIndex's sentence splitters take seconds to import, which a gateway that ingests nothing saves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# A line that goes on in lower case was wrapped; rows of one Markdown table belong to its header.
# "1. Send it back" is one sentence.
END = re.compile(r"(?<=[^\W\d][.!?])\s+|(?<=[.!?][)\]\"'»”])\s+|\n\s*\n|\n+(?![a-zß-öø-ÿ|])")


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each sentence, without the blanks around it."""
    begin = 0
    for found in [*END.finditer(text), None]:
        end = len(text) if found is None else found.start()
        if text[begin:end].strip():
            yield begin, end
        begin = end if found is None else found.end()
