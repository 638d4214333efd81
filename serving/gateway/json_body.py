"""JSON bodies. They are read once their sender is known, and what is too much to validate is
refused before: 100,000 wrong values would keep the event loop for half a second.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from isolation.errors import InvalidRequestError, ParameterNotAllowedError, RequestRefusedError
from serving.gateway.bodies import read_body

_VALUES = 1_000
# Errors that are looked at.
_MOST_ERRORS = 100
# Bytes of strings that are passed over at once: a millisecond or a few; what a string costs itself.
_STEP, _A_STRING = 250_000, 250
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)

Model = TypeVar("Model", bound=BaseModel)
Refusal = Callable[[ValidationError], RequestRefusedError]


async def check_values(body: bytes, most: int) -> None:
    """Refuse JSON of more than `most` values, without parsing it.

    Raises:
        InvalidRequestError: it has more.
    """
    # All of them outside of strings, and others inside.
    if _structure(body, 0, len(body)) <= most:
        return
    found = strings = begin = passed = 0
    while found <= most and strings <= 2 * most:
        quote = body.find(b'"', begin)
        if quote < 0:
            found += _structure(body, begin, len(body))
            break
        found += _structure(body, begin, quote)
        strings += 1
        begin = quote + 1
        while (end := _IN_STRING.match(body, begin, begin + _STEP)) and end.end() > begin:
            passed = await _paused(passed + end.end() - begin)
            begin = end.end()
        passed = await _paused(passed + _A_STRING)
        begin += 1  # its closing quote
    if found > most or strings > 2 * most:
        raise InvalidRequestError(f"The body has more than {most} values.")


async def _paused(passed: int) -> int:
    """Lets others run, now and then."""
    if passed < _STEP:
        return passed
    await asyncio.sleep(0)
    return 0


def _structure(body: bytes, begin: int, end: int) -> int:
    """Each value but the first has one of these before it."""
    return sum(body.count(mark, begin, end) for mark in (b",", b"[", b"{"))


def refusal_of(error: ValidationError) -> RequestRefusedError:
    """A caller's validation error as a refusal that holds no input."""
    if error.error_count() <= _MOST_ERRORS:
        for detail in _details(error):
            if detail["type"] == "extra_forbidden":
                return ParameterNotAllowedError(_path(detail)[:100])
    return invalid(error)


def invalid(error: ValidationError) -> RequestRefusedError:
    """As `refusal_of`, where a field that is not known is a mistake like others."""
    if error.error_count() > _MOST_ERRORS:
        return InvalidRequestError(f"The body is wrong in {error.error_count()} places.")
    first = _details(error)[0]
    where = _path(first)
    return InvalidRequestError(
        f"{where}: {first['msg']}." if where else f"{first['msg']}.", param=where or None
    )


async def read_json(
    request: Request,
    model: type[Model],
    *,
    limit: int,
    values: int = _VALUES,
    refusal: Refusal = refusal_of,
) -> Model:
    """The body as `model`: at most `limit` bytes, and about `values` JSON values.

    Raises:
        PayloadTooLargeError: there are more bytes; the rest is not read.
        InvalidRequestError, ParameterNotAllowedError: it is not valid; nothing of it is quoted.
    """
    body = await read_body(request, limit)
    await check_values(body, values)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise refusal(error) from None


def _details(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=False, include_input=False)


def _path(detail: ErrorDetails) -> str:
    return ".".join(str(part) for part in detail["loc"])
