"""The fair queue: no slot is lost, and a flood does not starve the other tenant."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from isolation.testing.contexts import tenant_for_tests
from serving.errors import DeadlineExceededError
from serving.scheduler.queue import FairQueue

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


def _soon() -> float:
    return time.monotonic() + 60


async def test_a_flood_of_one_tenant_does_not_delay_the_other_by_more_than_its_share() -> None:
    queue = FairQueue(1)
    served: list[str] = []

    async def request(ctx: object) -> None:
        tenant = FJELLVIK if ctx is FJELLVIK else VOLTBAY
        async with queue.of(tenant).turn(prompt_tokens=100, deadline=_soon()) as turn:
            await asyncio.sleep(0)
            turn.charge(output_tokens=10)
            served.append(tenant.tenant_id)

    flood = [asyncio.create_task(request(FJELLVIK)) for _ in range(100)]
    await asyncio.sleep(0)
    polite = [asyncio.create_task(request(VOLTBAY)) for _ in range(5)]
    await asyncio.gather(*flood, *polite)
    last = max(index for index, tenant in enumerate(served) if tenant == "voltbay")
    # In order of arrival it would have been the last of 105.
    assert last <= 12


async def test_waiting_ends_at_the_deadline_and_takes_no_slot() -> None:
    queue = FairQueue(1)
    async with queue.of(FJELLVIK).turn(prompt_tokens=1, deadline=_soon()):
        with pytest.raises(DeadlineExceededError):
            async with queue.of(VOLTBAY).turn(prompt_tokens=1, deadline=time.monotonic() + 0.01):
                pass
        assert queue.waiting == 0
    assert queue.free == 1


async def test_a_storm_of_cancellations_loses_no_slot() -> None:
    queue, chance = FairQueue(3), random.Random(7)

    async def request(number: int) -> None:
        ctx = FJELLVIK if number % 2 else VOLTBAY
        async with queue.of(ctx).turn(prompt_tokens=5, deadline=_soon()) as turn:
            await asyncio.sleep(0.001 * chance.random())
            turn.charge(output_tokens=1)

    tasks = [asyncio.create_task(request(number)) for number in range(300)]
    while not all(task.done() for task in tasks):
        chance.choice(tasks).cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (queue.free, queue.waiting) == (3, 0)


async def test_a_slot_granted_in_the_instant_of_cancellation_goes_to_the_next() -> None:
    queue = FairQueue(1)
    first = asyncio.create_task(queue.enter_until(FJELLVIK, _soon()))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(queue.enter_until(VOLTBAY, _soon()))
    await asyncio.sleep(0)
    queue.leave(FJELLVIK)  # grants to `waiting`, which has not run yet
    waiting.cancel()
    await asyncio.gather(first, waiting, return_exceptions=True)
    assert (queue.free, queue.waiting) == (1, 0)
