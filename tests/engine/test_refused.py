"""SGLang's refusals as a caller of ours gets them: for good or for now, and in our words."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from isolation.errors import InvalidRequestError
from isolation.testing.contexts import tenant_for_tests
from serving.engine.client import Delta, EngineClient, Job
from serving.engine_plugin.claims import KvPolicy
from serving.engine_plugin.refusals import KV_RESERVED
from serving.errors import EngineUnavailableError, KvBudgetExceededError
from tests.engine.wire import Wire, new_namespace

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

FJELLVIK = tenant_for_tests("fjellvik")
CANARY = "canary" + secrets.token_hex(8)


def _job(words: int = 1, max_tokens: int = 2) -> Job:
    messages = [{"role": "user", "content": f"{CANARY} " * words}]
    return Job(secrets.token_hex(16), messages, max_tokens, {"ignore_eos": True})


async def _told(engine: EngineClient, job: Job) -> list[Delta]:
    return [delta async for delta in engine.of(FJELLVIK, new_namespace()).stream(job)]


async def test_a_prompt_that_no_worker_could_take_is_refused_for_good(engine: EngineClient) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await _told(engine, _job(words=4_000))
    assert CANARY not in str(vars(refused.value))
    assert engine.identified  # it is no sign of another worker
    assert await _told(engine, _job())


@asynccontextmanager
async def _reserved(wire: Wire) -> AsyncGenerator[None, None]:
    """Others have half of the pool for themselves, and that is what is left."""
    neighbours = [secrets.token_hex(16) for _ in range(3)]
    try:
        for account in neighbours:
            policy = KvPolicy(reserved=0.3)
            assert (await wire.chat(wire.body(), account=account, policy=policy))[0] == 200
        yield
    finally:
        await wire.flush()


async def test_what_others_reserved_is_refused_for_good(changed_engine: EngineClient) -> None:
    engine, wire = changed_engine, Wire(changed_engine)
    # The control: without them it runs.
    async with aclosing(engine.of(FJELLVIK, new_namespace()).stream(_job(max_tokens=6_000))) as it:
        assert await anext(it)
    async with _reserved(wire):
        with pytest.raises(KvBudgetExceededError):
            await _told(engine, _job(max_tokens=6_000))
        status, answer = await wire.chat(wire.body(max_tokens=6_000))
        assert (status, answer["message"]) == (400, KV_RESERVED)
        assert await _told(engine, _job())
    assert engine.identified


async def test_an_adapter_that_is_not_there_is_worth_another_try(engine: EngineClient) -> None:
    adapter = "adapter" + secrets.token_hex(8)
    with pytest.raises(EngineUnavailableError) as refused:
        await _told(engine, replace(_job(), adapter=adapter))
    assert adapter not in str(vars(refused.value))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_of_the_second_line_is_an_error_of_a_stream_too(
    engine: EngineClient, stream: bool
) -> None:
    """The door finds nothing wrong with a namespace that nobody may be in."""
    wire = Wire(engine)
    _, answer = await wire.chat(wire.body(cache_salt="", stream=stream))
    assert "proof_inconsistent" in str(answer)
    assert "finish_reason" not in str(answer)
