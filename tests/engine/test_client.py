"""What the gateway's client makes of an engine's errors, and of a caller that reads slowly."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from isolation.errors import InvalidRequestError, RequestRefusedError
from isolation.namespaces import Namespace
from isolation.testing.contexts import tenant_for_tests
from serving.engine.client import Delta, EngineClient, Job
from serving.errors import EngineUnavailableError, KvBudgetExceededError
from tests.signing import signer_for_tests
from tests.stub_engine import StubEngine

FJELLVIK = tenant_for_tests("fjellvik")
# SGLang's own words, and what they quote.
FOREIGN, PROMPT = "voltbay-contracts", "my account number is 4711"
NOT_LOADED = f"Got LoRA adapter that has never been loaded: x\nAll loaded adapters: ['{FOREIGN}']."
TOO_LONG = "The input (9001 tokens) is longer than the model's context length (8192 tokens)."
INVALID = f"Invalid request: {PROMPT}"

REFUSALS = [
    (400, TOO_LONG, InvalidRequestError),
    (413, TOO_LONG, InvalidRequestError),
    (422, INVALID, InvalidRequestError),
    (400, "kv_reserved_for_others", KvBudgetExceededError),
    (400, NOT_LOADED, EngineUnavailableError),
    (401, "Unauthorized", EngineUnavailableError),
    (403, "proof_inconsistent", EngineUnavailableError),
    (429, "later", EngineUnavailableError),
    (500, f"Internal error for {PROMPT}", EngineUnavailableError),
    (503, "The request queue is full.", EngineUnavailableError),
]
refusals = pytest.mark.parametrize(("status", "words", "kind"), REFUSALS)


@asynccontextmanager
async def _stream(stub: StubEngine) -> AsyncGenerator[AsyncGenerator[Delta, None], None]:
    async with stub.serving() as url:
        engine = EngineClient(url, model="m", api_key="k", signer=signer_for_tests())
        job = Job(secrets.token_hex(16), [{"role": "user", "content": PROMPT}], 9, {})
        try:
            stream = engine.of(FJELLVIK, Namespace("0" * 64)).stream(job)
            async with aclosing(stream) as deltas:
                yield deltas
        finally:
            stub.flooded = None
            await engine.close()


async def _refusal(stub: StubEngine) -> RequestRefusedError:
    with pytest.raises(RequestRefusedError) as refused:
        async with _stream(stub) as deltas:
            _ = [delta async for delta in deltas]
    return refused.value


def _check(refusal: RequestRefusedError, kind: type[RequestRefusedError]) -> None:
    assert type(refusal) is kind
    told = str(vars(refusal))
    assert FOREIGN not in told
    assert PROMPT not in told
    permanent = kind is not EngineUnavailableError
    assert permanent == (400 <= refusal.status < 500)
    assert permanent == ("Retry-After" not in refusal.headers)


@refusals
async def test_a_refusal_is_for_good_or_for_now_and_quotes_nothing(
    status: int, words: str, kind: type[RequestRefusedError]
) -> None:
    """In the shapes that SGLang's routes, its framework and the gate have for it."""
    shapes: list[dict[str, Any]] = [
        {"object": "error", "message": words, "type": "BadRequest", "code": status},
        {"error": {"object": "error", "message": words, "code": status}},
    ]
    for shape in shapes:
        stub = StubEngine()
        stub.refusal = (status, shape)
        _check(await _refusal(stub), kind)


@refusals
async def test_an_error_within_a_stream_is_told_alike(
    status: int, words: str, kind: type[RequestRefusedError]
) -> None:
    stub = StubEngine()
    stub.failure = {"message": words, "type": "x", "code": status}
    _check(await _refusal(stub), kind)


@pytest.mark.parametrize("odd", [{"detail": PROMPT}, {"error": PROMPT}, {"error": None}, {}])
async def test_an_answer_of_another_shape_is_no_reason_to_quote_it(odd: dict[str, Any]) -> None:
    for status, kind in ((400, InvalidRequestError), (502, EngineUnavailableError)):
        stub = StubEngine()
        stub.refusal = (status, odd)
        _check(await _refusal(stub), kind)
    if odd.get("error"):
        stub = StubEngine()
        stub.failure = odd["error"]
        _check(await _refusal(stub), EngineUnavailableError)


async def _taken(stub: StubEngine) -> int:
    """Bytes that the connection has taken, once it takes no more."""
    before = -1
    while before != (taken := stub.flooded or 0) and taken < _MUCH:
        before = taken
        await asyncio.sleep(0.3)
    return taken


# More than the buffers of two sockets and of a reader hold together.
_MUCH = 64_000_000


async def test_a_slow_reader_of_a_stream_makes_the_engine_wait() -> None:
    stub = StubEngine()
    stub.flooded = 0
    async with _stream(stub) as deltas:
        await anext(deltas)
        taken = await _taken(stub)
        assert 0 < taken < _MUCH / 4
        for _ in range(2_000):  # read on, it comes again
            await anext(deltas)
        assert stub.flooded > taken


async def test_a_reader_that_hoards_is_what_the_test_above_would_see() -> None:
    stub = StubEngine()
    stub.flooded = 0
    async with _stream(stub) as deltas:
        hoarding = asyncio.create_task(_hoard(deltas))
        assert await _taken(stub) >= _MUCH
        hoarding.cancel()
        await asyncio.wait({hoarding})


async def _hoard(deltas: AsyncGenerator[Delta, None]) -> None:
    _ = [delta async for delta in deltas]
