"""Recognizers that others bring, such as GLiNER or a transformer, beside the platform's own.

A package registers one in the entry-point group `bulkhead.recognizers`: a callable without
arguments that makes a `Detector`. The operator names those that are used; each worker process makes
its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points

from isolation.errors import BulkheadError
from isolation.masking.entities import ENTITIES, VERSION
from isolation.masking.findings import Detector, Finding

GROUP = "bulkhead.recognizers"


class RecognizerError(BulkheadError):
    """A recognizer is not there, or does not keep to the port."""

    code = "recognizer_failed"


class Recognizers:
    """A `Detector`: all that any of its parts finds.

    A part that finds what cannot be masked fails the text: what it meant would go out in clear.
    """

    def __init__(self, parts: Sequence[Detector]) -> None:
        self._parts = parts

    def find(self, text: str, locale: str | None = None) -> list[Finding]:
        found = [each for part in self._parts for each in part.find(text, locale)]
        return list(checked(found, len(text)))


def checked(findings: Iterable[Finding], characters: int) -> Iterable[Finding]:
    """The findings, if each is of a known kind and lies in the text.

    Raises:
        RecognizerError: one is not.
    """
    for each in findings:
        if each.entity not in ENTITIES or not 0 <= each.start < each.end <= characters:
            raise RecognizerError("A recognizer found an unknown kind, or what is not in the text.")
        yield each


def made(names: Sequence[str]) -> list[Detector]:
    """The recognizers of these names; may take seconds.

    Raises:
        RecognizerError: there is none of a name.
    """
    return [point.load()() for point in map(_registered, names)]


def version(names: Sequence[str]) -> str:
    """Changes with the platform's own rules and with every package that brings one of these.

    Raises:
        RecognizerError: there is none of a name.
    """
    return "+".join([VERSION, *(_of(_registered(name)) for name in names)])


def _registered(name: str) -> EntryPoint:
    for point in entry_points(group=GROUP):
        if point.name == name:
            return point
    raise RecognizerError(f"No installed package registers a recognizer '{name}' in {GROUP}.")


def _of(point: EntryPoint) -> str:
    return f"{point.name}={point.dist.version if point.dist is not None else ''}"
