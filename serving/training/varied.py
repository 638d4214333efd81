"""Examples with other numbers: an adapter is to read the passages, and not to know them by heart.

In each epoch after the first, every number of an example's passages becomes another one of as many
digits, in question, passages and answer alike. What can still be learned is to copy what stands
there. Marks of sources (`[1]`) and placeholders (`<PERSON_1>`) keep theirs.
"""

from __future__ import annotations

import random
import re

from serving.training.examples import Asked, Example

_NUMBER = re.compile(r"(?<![\w<\[])\d+(?:[.,:]\d+)*(?![\w\]>])")


def varied(example: Example, rng: random.Random) -> Example:
    """The example with other numbers; `rng` says which."""
    found = {number for text in example.passages for number in _NUMBER.findall(text)}
    other = {number: _another(number, rng) for number in sorted(found)}

    def replaced(text: str) -> str:
        return _NUMBER.sub(lambda match: other.get(match[0], match[0]), text)

    return example.model_copy(
        update={
            "question": replaced(example.question),
            "passages": tuple(map(replaced, example.passages)),
            "answer": replaced(example.answer),
            "also": tuple(
                Asked(question=replaced(one.question), answer=replaced(one.answer))
                for one in example.also
            ),
        }
    )


def _another(number: str, rng: random.Random) -> str:
    """As many digits, and none before the others that is zero; 0 and 1 decide about a plural."""
    if number in ("0", "1"):
        return number
    return re.sub(r"\d+", lambda match: _digits(len(match[0]), rng), number)


def _digits(count: int, rng: random.Random) -> str:
    first = rng.choice("23456789")
    return first + "".join(rng.choice("0123456789") for _ in range(count - 1))
