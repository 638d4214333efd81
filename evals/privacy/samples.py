"""Texts whose personal data is known to the character."""

from __future__ import annotations

import re
from dataclasses import dataclass

DEVELOPMENT, HELD_OUT = "development", "held_out"


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]` of its sample is personal data of kind `entity`."""

    start: int
    end: int
    entity: str


@dataclass(frozen=True, slots=True)
class Sample:
    """half: rules were written with the development half in sight, and the held-out half not."""

    text: str
    spans: tuple[Span, ...]
    half: str


def filled(template: str, values: dict[str, tuple[str, str]], half: str) -> Sample:
    """`template` with each {name} replaced by its (value, entity); an empty entity is no span."""
    text, spans = "", []
    for piece in re.split(r"(\{\w+\})", template):
        value, entity = values[piece[1:-1]] if re.fullmatch(r"\{\w+\}", piece) else (piece, "")
        if entity:
            spans.append(Span(len(text), len(text) + len(value), entity))
        text += value
    return Sample(text, tuple(spans), half)
