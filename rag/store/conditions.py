"""What a point must fulfil, in no vendor's words. `predicate` makes them; each engine renders them.

Two engines that were each given a filter of their own could come to differ in one: so there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class TextIs:
    """The payload's text at `path` is this."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class TextAmong:
    """The payload's text at `path`, or one of its texts there, is among these; never empty."""

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Within:
    """The payload's number at `path` is within the bounds, both included."""

    path: str
    at_least: float | None
    at_most: float | None


@dataclass(frozen=True, slots=True)
class PointAmong:
    """The point is one of these; never empty."""

    ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Every:
    """All parts hold. The first part of what `predicate` makes is the tenant's."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one part holds; never empty."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class No:
    """The part does not hold."""

    part: Condition


Condition = TextIs | TextAmong | Within | PointAmong | Every | Some | No
