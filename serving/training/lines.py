"""JSON Lines, read strictly: an error names the line and the field, and quotes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from serving.training.errors import ExamplesError

_MOST_LINES, _MOST_BYTES = 20_000, 200_000

Line = TypeVar("Line", bound=BaseModel)


def read_lines(path: Path, model: type[Line]) -> list[tuple[int, Line]]:
    """Each line that is not blank, with its number.

    Raises:
        ExamplesError: there is none, there are too many, or one is not a `model`.
    """
    try:
        with path.open("rb") as file:
            lines = [(n, _parsed(path, n, raw, model)) for n, raw in _numbered(path, file)]
    except OSError as error:
        raise ExamplesError(f"{path.name} cannot be read: {error.strerror}.") from None
    if not lines:
        raise ExamplesError(f"{path.name} holds no example.")
    return lines


def wrong(path: Path, number: int, why: str) -> ExamplesError:
    """The error of one line."""
    return ExamplesError(f"{path.name}, line {number}: {why}.")


def _numbered(path: Path, file: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, raw in enumerate(file, 1):
        if number > _MOST_LINES:
            raise ExamplesError(f"{path.name} has more than {_MOST_LINES:,} lines.")
        if len(raw) > _MOST_BYTES:
            raise wrong(path, number, f"it has more than {_MOST_BYTES:,} bytes")
        if raw.strip():
            yield number, raw


def _parsed(path: Path, number: int, raw: bytes, model: type[Line]) -> Line:
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise wrong(path, number, "it is not a JSON object") from None
        # An unknown field is named by nobody: its name may be content.
        known = [str(part) for part in first["loc"] if str(part) in model.model_fields]
        where = f"{known[0]}: " if known else ""
        raise wrong(path, number, f"{where}{first['msg']}") from None
