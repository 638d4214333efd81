"""What the engine says that requests cost, against its own clocks."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from evals.performance.engine_side import asker_of, random_words
from evals.performance.metered_load import Mix, cost_of, measured
from isolation.policy import TIERS
from isolation.testing.contexts import tenant_for_tests
from serving.engine.client import EngineClient, Job
from serving.engine_plugin.stopwatch import RequestWatch, Row, StepMeter
from serving.settings import Settings
from tests.engine.wire import Wire, new_namespace

FJELLVIK = tenant_for_tests("fjellvik")


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_shared_step_is_split_by_the_tokens_that_each_computed() -> None:
    clock = Clock()
    meter = StepMeter(clock)
    long, short = RequestWatch(received=99.0), RequestWatch(received=100.0)
    meter.woke()
    clock.now += 1  # scheduling belongs to the step
    meter.begin([Row(long, 300, 300, False), Row(short, 100, 100, False)])
    clock.now += 3
    meter.settle()
    clock.now += 4  # the rest of the step, after the outputs left
    meter.end()
    assert (long.cost.busy_seconds, short.cost.busy_seconds) == (6.0, 2.0)
    assert meter.busy_seconds == 8.0
    report = long.report(clock.now)
    assert (report["queue_seconds"], report["prefill_seconds"]) == (2.0, 7.0)
    assert (report["peak_kv_tokens"], report["kv_token_seconds"]) == (300, 2_400.0)


def test_idle_time_is_nobodys() -> None:
    clock = Clock()
    meter = StepMeter(clock)
    watch = RequestWatch(received=100.0)
    for _ in range(3):
        meter.woke()
        meter.begin([Row(watch, 1, 10, True)])
        clock.now += 1
        meter.end()
        meter.idle()
        clock.now += 50
    assert watch.cost.busy_seconds == meter.busy_seconds == 3.0


def test_overlapping_steps_are_not_counted_twice() -> None:
    clock = Clock()
    meter = StepMeter(clock)
    first, second = RequestWatch(received=100.0), RequestWatch(received=100.0)
    meter.woke()
    meter.begin([Row(first, 1, 1, True)])
    clock.now += 1
    meter.begin([Row(second, 1, 1, True)])
    clock.now += 1
    meter.end()
    clock.now += 1
    meter.end()
    assert (first.cost.busy_seconds, second.cost.busy_seconds) == (2.0, 1.0)


def _job(words: int, max_tokens: int) -> Job:
    messages = [{"role": "user", "content": random_words(words)}]
    return Job(secrets.token_hex(16), messages, max_tokens, {"ignore_eos": True})


@pytest.mark.engine
@pytest.mark.asyncio(loop_scope="session")
async def test_the_costs_of_a_mixed_load_add_up_to_the_engines_busy_time(
    engine: EngineClient,
) -> None:
    load = await measured(engine, Mix())
    costs = [cost for _, cost in load.costs]
    assert (len(costs), load.aborted) == (12, 6)
    assert load.metered_seconds == pytest.approx(load.busy_seconds, rel=0.05)
    # Charges that lacked one tenant's would not.
    short = sum(cost.busy_seconds for tenant, cost in load.costs if tenant == "short")
    assert short < 0.9 * load.busy_seconds
    assert all(cost.worker_type == "cpu" for cost in costs)
    # Twelve requests on eight places: some waited.
    assert max(cost.queue_seconds for cost in costs) > 0.05
    assert min(cost.peak_kv_tokens for cost in costs) > 40
    for cost in costs:
        wall = cost.prefill_seconds + cost.decode_seconds
        assert cost.busy_seconds <= wall + 0.2
        assert cost.kv_token_seconds <= cost.peak_kv_tokens * (wall + 0.2)


@pytest.mark.engine
@pytest.mark.asyncio(loop_scope="session")
async def test_a_cached_prefix_costs_its_tenant_less(engine: EngineClient) -> None:
    namespace, job = new_namespace(), _job(600, 1)
    costs = []
    for _ in range(2):
        again = Job(secrets.token_hex(16), job.messages, 1, {"temperature": 0})
        stream = engine.of(FJELLVIK, namespace).stream(again)
        costs += [delta.cost async for delta in stream if delta.cost is not None]
    first, second = costs
    assert first.cached_tokens == 0
    assert first.computed_tokens == second.cached_tokens + second.computed_tokens
    assert second.computed_tokens < 10


@pytest.mark.engine
@pytest.mark.asyncio(loop_scope="session")
async def test_a_cost_is_told_once_and_only_to_who_may_ask(engine: EngineClient) -> None:
    job = _job(10, 2)
    assert (await cost_of(asker_of(engine, "fjellvik"), job)).computed_tokens > 10
    wire = Wire(engine)
    body = b'{"request_id":"' + job.request_id.encode() + b'"}'
    claims = wire.claims(body, route="POST /bulkhead/v1/settle")
    status, _ = await wire.send("POST /bulkhead/v1/settle", body, wire.signed(claims))
    assert status == 403


@pytest.mark.engine
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("above", "preempted"), [(10, 0), (11, 1)])
async def test_a_request_that_gives_way_to_an_urgent_one_says_so_in_its_last_chunk(
    engine: EngineClient, above: int, preempted: int
) -> None:
    """SGLang preempts for a priority that is more than 10 higher; tiers differ by less."""
    assert max(tier.priority for tier in TIERS.values()) <= 10
    wire, places = Wire(engine), Settings().engine_slots
    jobs = [_job(10, 80) for _ in range(places)]
    running = [asyncio.create_task(cost_of(asker_of(engine, "fjellvik"), job)) for job in jobs]
    while await wire.running() < places:
        await asyncio.sleep(0.02)
    priority = FJELLVIK.tier.priority + above
    status, _ = await wire.chat(wire.body(priority=priority), priority=priority)
    costs = await asyncio.gather(*running)
    assert status == 200
    assert sorted(cost.preemptions for cost in costs)[-2:] == [0, preempted]
    assert not any(cost.retractions for cost in costs)
