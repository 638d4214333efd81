"""A request that never ran: aborted in the queue, it still says what it cost."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing

import pytest

from isolation.testing.contexts import tenant_for_tests
from serving.engine.client import EngineClient, Job
from tests.engine.wire import Wire, new_namespace

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


def _long() -> Job:
    text = " ".join(secrets.token_hex(2) for _ in range(20))
    messages = [{"role": "user", "content": text}]
    return Job(secrets.token_hex(16), messages, 1_500, {"ignore_eos": True})


async def _drained(engine: EngineClient, job: Job) -> None:
    async with aclosing(engine.of(VOLTBAY, new_namespace()).stream(job)) as deltas:
        async for _ in deltas:
            pass


async def _queued(wire: Wire) -> int:
    _, answer = await wire.open("GET /v1/loads?include=core")
    return sum(load["num_waiting_reqs"] for load in answer["loads"])


async def _until_running(wire: Wire, count: int) -> None:
    async with asyncio.timeout(60):
        while await wire.running() != count:
            await asyncio.sleep(0.05)


async def test_a_request_that_is_aborted_in_the_queue_is_charged_its_wait_alone(
    engine: EngineClient,
) -> None:
    wire, job = Wire(engine), _long()
    places = (await engine.server_info())["max_running_requests"]
    running = [asyncio.create_task(_drained(engine, _long())) for _ in range(places)]
    try:
        await _until_running(wire, places)
        waiting = asyncio.create_task(_drained(engine, job))
        async with asyncio.timeout(60):
            while await _queued(wire) == 0:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        assert (await wire.open("POST /abort_request", {"rid": job.request_id}))[0] == 200
        cost = await engine.of(VOLTBAY, new_namespace()).settle(job)
        await waiting
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        await _until_running(wire, 0)
    assert cost is not None
    assert 0.25 < cost.queue_seconds < 30
    nothing = (cost.computed_tokens, cost.busy_seconds, cost.kv_token_seconds, cost.peak_kv_tokens)
    assert nothing == (0, 0, 0, 0)
    assert cost.prefill_seconds == cost.decode_seconds == 0
