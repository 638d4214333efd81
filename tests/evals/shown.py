"""Numbers as a text shows them, beside the committed results that they are of."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_RESULTS = Path(__file__).parents[2] / "evals" / "results"
# Not part of a word: `p50`, `recall@10` and `SmolLM2` are names.
_NUMBER = re.compile(r"(?<![\w.@,])-?\d+(?:,\d{3})*(?:\.\d+)?(?:e-\d+)?")
_BOUND = re.compile(r"(?:<|below|under) *$")

# `file:key/key`, a number that is no result, or what is worked out of results.
Source = str | float | Callable[[], float]


class Shown(NamedTuple):
    """A number as README shows it. digits: after the point. bound: the result is not above it."""

    value: float
    digits: int
    bound: bool


@functools.cache
def _result(name: str) -> Any:
    return json.loads((_RESULTS / f"{name}.json").read_text())


def at(source: str) -> Any:
    """What a result holds at `file:key/key`."""
    name, _, path = source.partition(":")
    value = _result(name)
    for key in path.split("/"):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def of(source: Source) -> float:
    """The number that a source stands for."""
    if isinstance(source, str):
        return float(at(source))
    return float(source() if callable(source) else source)


def numbers(cell: str) -> list[Shown]:
    """All of a cell, percentages as shares."""
    found = []
    for match in _NUMBER.finditer(cell):
        text = match[0].replace(",", "")
        percent = cell[match.end() :].startswith("%")
        digits = len(text.partition(".")[2]) if "e" not in text else 0
        bound = _BOUND.search(cell[: match.start()]) is not None
        value = float(text) / 100 if percent else float(text)
        found.append(Shown(value, digits + 2 * percent, bound))
    return found


def says(shown: Shown, value: float) -> bool:
    """Whether the shown number is this value, rounded as it is."""
    if shown.bound:
        return value <= shown.value
    return abs(shown.value - value) <= 0.5 * 10**-shown.digits + 1e-9


def cell_says(cell: str, sources: Sequence[Source]) -> bool:
    """Whether the numbers of a cell are those of the sources, in their order."""
    shown = numbers(cell)
    if len(shown) != len(sources):
        return False
    return all(says(number, of(source)) for number, source in zip(shown, sources, strict=True))
