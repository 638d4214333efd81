"""Leases in a real Valkey: two tenants of the same tier."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from isolation.context import TenantContext
from isolation.testing.contexts import tenant_for_tests
from serving.admission.concurrency import TenantLeases, ValkeyConcurrency
from serving.admission.valkey import connect
from serving.errors import ConcurrencyLimitError, OverloadedError

FJELLVIK = tenant_for_tests("fjellvik", tier="starter")
VOLTBAY = tenant_for_tests("voltbay", tier="starter")
LIMIT = FJELLVIK.tier.max_concurrency


async def _fill(limiter: ValkeyConcurrency, ctx: TenantContext, stack: AsyncExitStack) -> None:
    for number in range(ctx.tier.max_concurrency):
        await stack.enter_async_context(limiter.of(ctx).slot(f"{ctx.tenant_id}-{number}"))


async def _a_full_tenant_leaves_the_other_alone(limiter: ValkeyConcurrency) -> None:
    async with AsyncExitStack() as stack:
        await _fill(limiter, FJELLVIK, stack)
        with pytest.raises(ConcurrencyLimitError):
            async with limiter.of(FJELLVIK).slot("one too many"):
                pass
        async with limiter.of(VOLTBAY).slot("the other's first"):
            pass


async def test_a_full_tenant_is_refused_and_the_other_does_not_feel_it(valkey: Redis) -> None:
    await _a_full_tenant_leaves_the_other_alone(ValkeyConcurrency(valkey))


async def test_a_limiter_with_one_key_for_all_is_caught(valkey: Redis) -> None:
    class Leaky(ValkeyConcurrency):
        def of(self, ctx: TenantContext) -> TenantLeases:
            leases = super().of(ctx)
            leases._key = "bulkhead:leases"
            return leases

    with pytest.raises(ConcurrencyLimitError):
        await _a_full_tenant_leaves_the_other_alone(Leaky(valkey))


async def test_the_limit_is_never_exceeded_by_a_rush(valkey: Redis) -> None:
    limiter, running, most, refused = ValkeyConcurrency(valkey), 0, 0, 0

    async def request(number: int) -> None:
        nonlocal running, most, refused
        try:
            async with limiter.of(FJELLVIK).slot(str(number)):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.01)
                running -= 1
        except ConcurrencyLimitError:
            refused += 1

    await asyncio.gather(*(request(number) for number in range(200)))
    assert most == LIMIT
    assert refused > 0
    assert await valkey.zcard("bulkhead:{fjellvik}:leases") == 0


async def test_leases_of_a_gateway_that_died_expire_and_held_ones_do_not(valkey: Redis) -> None:
    limiter = ValkeyConcurrency(valkey, lease_seconds=0.3)
    async with limiter.of(FJELLVIK).slot("held"):
        for number in range(LIMIT - 1):
            assert await limiter.take("bulkhead:{fjellvik}:leases", f"dead-{number}", LIMIT)
        await asyncio.sleep(1)
        async with AsyncExitStack() as stack:
            for number in range(LIMIT - 1):
                await stack.enter_async_context(limiter.of(FJELLVIK).slot(f"new-{number}"))
            with pytest.raises(ConcurrencyLimitError):
                async with limiter.of(FJELLVIK).slot("one too many"):
                    pass


async def test_a_cancelled_request_leaves_no_lease(valkey: Redis) -> None:
    limiter = ValkeyConcurrency(valkey)

    async def request(number: int) -> None:
        async with limiter.of(FJELLVIK).slot(str(number)):
            await asyncio.sleep(60)

    for number in range(40):
        task = asyncio.create_task(request(number))
        await asyncio.sleep(0.0002 * number)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await valkey.zcard("bulkhead:{fjellvik}:leases") == 0


async def test_without_the_server_nothing_is_let_in(tmp_path: Path) -> None:
    redis = connect(tmp_path / "nobody.sock")
    with pytest.raises(OverloadedError):
        async with ValkeyConcurrency(redis).of(FJELLVIK).slot("request"):
            pass
    await redis.aclose()


async def test_the_socket_is_the_owners_alone_and_there_is_no_port(
    valkey: Redis, tmp_path: Path
) -> None:
    assert (tmp_path / "valkey.sock").stat().st_mode & 0o777 == 0o600
    assert (await valkey.config_get("port"))["port"] == "0"
