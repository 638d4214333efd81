"""What is too much to validate is refused before, and everything else passes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from isolation.errors import InvalidRequestError, ParameterNotAllowedError
from serving.gateway import json_body
from serving.gateway.json_body import check_values, invalid, refusal_of

# With what a scan could stumble over.
_TEXTS = st.text(st.sampled_from('a,[{"\\:é\n'), max_size=12)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_TEXTS, inner, max_size=5),
    max_leaves=25,
)


def _structure(value: Any) -> int:
    """Brackets that open, and commas."""
    if not isinstance(value, list | dict):
        return 0
    inner = list(value.values()) if isinstance(value, dict) else value
    return 1 + max(len(inner) - 1, 0) + sum(map(_structure, inner))


async def _passes(body: bytes, most: int) -> bool:
    try:
        await check_values(body, most)
    except InvalidRequestError:
        return False
    return True


@given(_JSON, st.integers(0, 12), st.booleans(), st.integers(2, 5))
def test_as_many_values_pass_as_are_allowed(value: Any, most: int, plain: bool, step: int) -> None:
    """Whatever stands in strings, and wherever the scan stops to let others run."""
    body = json.dumps(value, ensure_ascii=not plain).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_body, "_STEP", step)
        passes = asyncio.run(_passes(body, most))
    strings = body.count(b'"') // 2
    if _structure(value) > most:
        assert not passes
    elif strings <= 2 * most:
        assert passes


@pytest.mark.parametrize("body", [b'"', b'"\\', b'["a', b"", b'{"a":"' + b"\\" * 9, b"\xff,\xff"])
async def test_what_is_no_json_is_left_to_the_parser(body: bytes) -> None:
    assert await _passes(body, 3)


@pytest.mark.parametrize("body", [b"[" * 100, b"[0,0,0,0,0,0]", b'"," ' * 100])
async def test_too_much_is_refused_with_a_code_and_without_a_quote(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="more than 3 values"):
        await check_values(body, 3)


async def test_others_run_while_a_large_body_is_looked_at() -> None:
    body = json.dumps({"text": "One, two. " * 300_000}).encode()
    ticks, going = 0, asyncio.ensure_future(_passes(body, 1_000))
    while not going.done():
        ticks += 1
        await asyncio.sleep(0)
    assert going.result()
    assert ticks >= len(body) // json_body._STEP


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    numbers: list[int] = []


def _error(value: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        _Strict.model_validate(value)
    return caught.value


def test_an_unknown_field_is_a_callers_parameter_and_an_operators_mistake() -> None:
    error = _error({"numbers": ["secret"], "rid": "secret"})
    refused, told = refusal_of(error), invalid(error)
    assert isinstance(refused, ParameterNotAllowedError)
    assert (type(told), told.param) == (InvalidRequestError, "numbers.0")
    assert "secret" not in refused.message + told.message


def test_of_a_hundred_errors_none_is_listed() -> None:
    for refusal in (refusal_of, invalid):
        said = refusal(_error({"numbers": ["x"] * 101}))
        assert (said.message, said.param) == ("The body is wrong in 101 places.", None)
