"""What a caller may ask of its documents' metadata: a small language, compiled in one place.

A filter names metadata fields and nothing else. It has no way to say whose documents are meant: the
store puts it beside the tenant's predicate, never in its place, and below a path of its own
(`rag/store/predicate.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from rag.errors import InvalidFilterError

Scalar = str | int | float | bool
Metadata = Mapping[str, Scalar]

_FIELD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MAX_DEPTH, _MAX_PARTS, _MAX_TEXT = 6, 64, 1_000
_MAX_FIELDS = 32
# Beyond it, engines keep whole numbers as floats.
_MAX_INTEGER = 2**53


@dataclass(frozen=True, slots=True)
class Equals:
    """The field is there, and has this value. A bool is no number: true is not 1."""

    field: str
    value: Scalar

    def __post_init__(self) -> None:
        _check_field(self.field)
        _check_value(self.value)


@dataclass(frozen=True, slots=True)
class Between:
    """The field is a number within the bounds, both included; at least one is given."""

    field: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        _check_field(self.field)
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if not bounds or not all(map(math.isfinite, bounds)):
            raise InvalidFilterError("A range needs a finite bound: at_least, at_most, or both.")


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds."""

    parts: tuple[Where, ...]

    def __post_init__(self) -> None:
        _check_parts(self)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Where, ...]

    def __post_init__(self) -> None:
        _check_parts(self)


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold; so it is for documents without the field, too."""

    part: Where

    def __post_init__(self) -> None:
        _check_parts(self)


Where = Equals | Between | AllOf | AnyOf | Not


def check_metadata(metadata: Metadata) -> None:
    """Accept flat metadata of bounded size.

    Raises:
        InvalidFilterError: a name or a value that a filter could not ask for.
    """
    if len(metadata) > _MAX_FIELDS:
        raise InvalidFilterError(f"A document has at most {_MAX_FIELDS} metadata fields.")
    for field, value in metadata.items():
        _check_field(field)
        _check_value(value)


def parts_of(where: Where) -> tuple[Where, ...]:
    """The direct parts of a filter."""
    match where:
        case AllOf(parts) | AnyOf(parts):
            return parts
        case Not(part):
            return (part,)
        case _:
            return ()


def _check_field(field: str) -> None:
    # Dots and brackets are paths in the engine's language: they could leave the metadata.
    if not isinstance(field, str) or not _FIELD.fullmatch(field):
        raise InvalidFilterError(
            "A metadata field has 1 to 63 of a-z, 0-9 and _, and begins with a letter."
        )


def _check_value(value: object) -> None:
    match value:
        case bool():
            return
        case str() if len(value) <= _MAX_TEXT and "\0" not in value:
            return
        case int() if abs(value) <= _MAX_INTEGER:
            return
        case float() if math.isfinite(value):
            return
        case _:
            raise InvalidFilterError(
                f"A metadata value is text of at most {_MAX_TEXT} characters, a finite number, "
                "or a boolean."
            )


def _check_parts(where: Where) -> None:
    """An empty list would mean "everything" to some engines, and "nothing" to others."""
    parts = parts_of(where)
    if not parts:
        raise InvalidFilterError("all and any need at least one part.")
    if _depth(where) > _MAX_DEPTH or _size(where) > _MAX_PARTS:
        raise InvalidFilterError(
            f"A filter has at most {_MAX_PARTS} parts, nested at most {_MAX_DEPTH} deep."
        )


def _depth(where: Where) -> int:
    return 1 + max((_depth(part) for part in parts_of(where)), default=0)


def _size(where: Where) -> int:
    return 1 + sum(_size(part) for part in parts_of(where))
