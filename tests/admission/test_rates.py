"""Requests and tokens of a minute, tokens of a month, in a real Valkey: two tenants, gateways."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from redis.asyncio import Redis

from isolation.context import TenantContext
from isolation.errors import RequestRefusedError
from serving.admission import rates as rates_module
from serving.admission.concurrency import ValkeyConcurrency
from serving.admission.rates import Keys, ValkeyHold, ValkeyRates
from serving.admission.valkey import connect
from serving.errors import (
    OverloadedError,
    QuotaExhaustedError,
    RequestRateError,
    TokenRateError,
)
from tests.limits import limited_tenant

NOVEMBER, DECEMBER = datetime(2026, 11, 30, 23, tzinfo=UTC), datetime(2026, 12, 1, 1, tzinfo=UTC)


@dataclass
class Account:
    """The ledger: what is on it, and how often it was asked."""

    tokens: int = 0
    asked: list[tuple[str, datetime]] = field(default_factory=list)

    async def spent(self, ctx: TenantContext, since: datetime) -> int:
        self.asked.append((str(ctx.tenant_id), since))
        await asyncio.sleep(0.01)
        return self.tokens


class Gateway(ValkeyRates):
    """With the leases that go with its requests."""

    def __init__(self, valkey: Redis, account: Account, **options: float) -> None:
        super().__init__(valkey, account.spent, **options)  # type: ignore[arg-type]
        self.leases = ValkeyConcurrency(valkey)


def rates(valkey: Redis, account: Account | None = None, **options: float) -> Gateway:
    return Gateway(valkey, account or Account(), **options)


async def hold(gateway: Gateway, ctx: TenantContext, tokens: int) -> ValkeyHold:
    """By a request with a lease."""
    request = secrets.token_hex(16)
    assert await gateway.leases.take(f"bulkhead:{{{ctx.tenant_id}}}:leases", request, 10**6)
    held = gateway.of(ctx).hold(request)
    await held.reserve(tokens)
    return held


async def let_in(asked: list[Awaitable[ValkeyHold]]) -> list[ValkeyHold]:
    """Of so many at once, those that were."""
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    others = [one for one in outcomes if isinstance(one, BaseException)]
    assert all(isinstance(one, RequestRefusedError) for one in others), others
    return [one for one in outcomes if isinstance(one, ValkeyHold)]


async def test_of_a_rush_on_two_gateways_no_more_are_let_in_than_the_limits_allow(
    valkey: Redis,
) -> None:
    one, other = rates(valkey), rates(valkey)
    by_requests, by_tokens = (
        limited_tenant("a", requests_per_minute=7),
        limited_tenant("b", tokens_per_minute=950),
    )
    for ctx, most in ((by_requests, 7), (by_tokens, 9)):
        rush = [hold(gateway, ctx, 100) for gateway in (one, other) for _ in range(60)]
        assert len(await let_in(rush)) == most
    # What is used to the last token may be used, and one more may not.
    (last,) = await let_in([hold(one, by_tokens, 50)])
    assert last.standing is not None
    assert last.standing.tokens == 950
    with pytest.raises(TokenRateError):
        await hold(one, by_tokens, 1)


async def test_who_has_used_its_minute_is_told_what_it_has_and_when_to_ask(valkey: Redis) -> None:
    ctx = limited_tenant("a", requests_per_minute=2, tokens_per_minute=1_000)
    first = await hold(rates(valkey), ctx, 300)
    assert first.standing is not None
    assert first.standing.headers(ctx.tier) == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "60s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "700",
        "x-ratelimit-reset-tokens": "60s",
    }
    with pytest.raises(TokenRateError) as tokens:
        await hold(rates(valkey), ctx, 701)
    await hold(rates(valkey), ctx, 700)
    with pytest.raises(RequestRateError) as requests:
        await hold(rates(valkey), ctx, 1)
    for refusal in (tokens.value, requests.value):
        assert 50 <= int(refusal.headers["Retry-After"]) <= 60
    assert requests.value.headers["x-ratelimit-remaining-requests"] == "0"
    with pytest.raises(TokenRateError) as never:
        await hold(rates(valkey), limited_tenant("b", tokens_per_minute=100), 101)
    assert "Retry-After" not in never.value.headers
    assert never.value.headers["x-should-retry"] == "false"


async def test_what_was_not_used_is_free_again_and_the_rest_when_its_minute_is_over(
    valkey: Redis,
) -> None:
    shared, ctx = rates(valkey, window_seconds=1.0), limited_tenant("a", tokens_per_minute=100)
    held = await hold(shared, ctx, 100)
    await held.settle(30)
    await held.settle(30)  # a second time, nothing happens
    await hold(shared, ctx, 70)
    with pytest.raises(TokenRateError) as refused:
        await hold(shared, ctx, 1)
    await asyncio.sleep(int(refused.value.headers["Retry-After"]) + 0.1)
    again = await hold(shared, ctx, 100)
    assert again.standing is not None
    assert again.standing.tokens == 100


async def test_a_prompt_that_became_longer_takes_the_difference_and_no_second_request(
    valkey: Redis,
) -> None:
    ctx = limited_tenant("a", requests_per_minute=1, tokens_per_minute=100, tokens_per_month=100)
    held = await hold(rates(valkey), ctx, 60)
    await held.reserve(50)  # it has them
    await held.reserve(100)
    assert held.standing is not None
    assert (held.standing.requests, held.standing.tokens) == (1, 100)
    with pytest.raises(TokenRateError):
        await held.reserve(101)
    await held.settle(0)
    assert int(await valkey.hget("bulkhead:{a}:tokens", "sum")) == 0  # type: ignore[arg-type, misc]


async def _one_does_not_use_the_others(shared: Gateway) -> None:
    limits = {"requests_per_minute": 3, "tokens_per_minute": 300, "tokens_per_month": 300}
    busy, quiet = limited_tenant("fjellvik", **limits), limited_tenant("voltbay", **limits)
    for _ in range(3):
        await (await hold(shared, busy, 100)).settle(100)
    with pytest.raises(RequestRateError):
        await hold(shared, busy, 100)
    held = await hold(shared, quiet, 100)
    assert held.standing is not None
    assert (held.standing.requests, held.standing.tokens) == (1, 100)


async def test_one_tenant_has_used_its_limits_and_the_other_none_of_its_own(valkey: Redis) -> None:
    await _one_does_not_use_the_others(rates(valkey))


@pytest.mark.parametrize("name", ["minute", "amounts", "month"])
async def test_limits_with_one_key_for_all_are_caught(
    valkey: Redis, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Leaky(Keys):
        __slots__ = ()

        def __init__(self, ctx: TenantContext, now: datetime) -> None:
            super().__init__(ctx, now)
            setattr(self, name, f"bulkhead:{name}")

    monkeypatch.setattr(rates_module, "Keys", Leaky)
    if name == "minute":
        with pytest.raises(RequestRateError):
            await _one_does_not_use_the_others(rates(valkey))
    else:
        with pytest.raises((TokenRateError, QuotaExhaustedError)):
            await _one_does_not_use_the_others(rates(valkey))


async def test_a_month_begins_with_what_the_ledger_has_and_it_is_asked_once(valkey: Redis) -> None:
    account, ctx = Account(700), limited_tenant("a", tokens_per_month=1_000)
    shared = rates(valkey, account)
    shared.clock = lambda: NOVEMBER
    held = await let_in([hold(shared, ctx, 100) for _ in range(20)])
    assert len(held) == 3
    assert account.asked == [("a", datetime(2026, 11, 1, tzinfo=UTC))]
    await held[0].settle(40)
    await hold(shared, ctx, 60)
    with pytest.raises(QuotaExhaustedError) as refused:
        await hold(shared, ctx, 1)
    assert refused.value.headers["Retry-After"] == "3600"  # the month has an hour
    assert refused.value.headers["x-should-retry"] == "false"
    account.tokens = 0
    shared.clock = lambda: DECEMBER
    await hold(shared, ctx, 1_000)
    # A request of the old month settles there.
    await held[1].settle(100)
    assert int(await valkey.hget("bulkhead:{a}:month:2026-11", "spent")) == 840  # type: ignore[arg-type, misc]
    assert int(await valkey.hget("bulkhead:{a}:month:2026-12", "spent")) == 0  # type: ignore[arg-type, misc]


async def test_a_server_that_forgot_everything_learns_the_month_anew(valkey: Redis) -> None:
    account, ctx = Account(), limited_tenant("a", tokens_per_month=1_000)
    first = await hold(rates(valkey, account), ctx, 900)
    await first.settle(900)
    account.tokens = 900
    await valkey.flushall()
    with pytest.raises(QuotaExhaustedError):
        await hold(rates(valkey, account), ctx, 101)


async def test_what_a_dead_gateway_held_of_the_month_is_given_back(valkey: Redis) -> None:
    ctx = limited_tenant("a", tokens_per_month=1_000)
    shared, leases = rates(valkey), ValkeyConcurrency(valkey)
    async with leases.of(ctx).slot("alive"):
        alive = shared.of(ctx).hold("alive")
        await alive.reserve(400)
        dead = shared.of(ctx).hold("dead")  # its gateway renews no lease
        await dead.reserve(600)
        with pytest.raises(QuotaExhaustedError):
            await hold(shared, ctx, 601)
        await hold(shared, ctx, 600)
        with pytest.raises(QuotaExhaustedError):
            await alive.reserve(1_001)
        await alive.settle(400)
    assert int(await valkey.hget(f"bulkhead:{{a}}:month:{datetime.now(UTC):%Y-%m}", "spent")) == 400  # type: ignore[arg-type, misc]


@dataclass
class _Model:
    """The same rules, written down in Python."""

    limit: int
    held: dict[str, int] = field(default_factory=dict)

    def reserve(self, request: str, tokens: int) -> bool:
        others = sum(self.held.values()) - self.held.get(request, 0)
        if tokens > self.held.get(request, 0) and others + tokens > self.limit:
            return False
        self.held[request] = max(tokens, self.held.get(request, 0))
        return True


@pytest.mark.parametrize("seed", range(8))
async def test_any_order_of_reserving_and_settling_agrees_with_the_rules(
    valkey: Redis, seed: int
) -> None:
    random, limit = Random(seed), 1_000
    ctx = limited_tenant("a", tokens_per_minute=limit, tokens_per_month=10**9)
    shared, model = rates(valkey), _Model(limit)
    holds: dict[str, ValkeyHold] = {}
    for step in range(150):
        name = random.choice([*holds, f"r{step}"])
        held = holds.setdefault(name, shared.of(ctx).hold(name))
        if random.random() < 0.6:
            tokens = random.randint(1, 400)
            try:
                await held.reserve(tokens)
                done = True
            except TokenRateError:
                done = False
            assert done == model.reserve(name, tokens), step
        elif name in model.held:
            used = random.randint(0, model.held[name])
            await held.settle(used)
            model.held[name] = used
            del holds[name]
        total = int(await valkey.hget("bulkhead:{a}:tokens", "sum") or 0)  # type: ignore[arg-type, misc]
        assert total == sum(model.held.values())
        assert 0 <= total <= limit


async def test_a_cancelled_request_holds_nothing(valkey: Redis) -> None:
    shared = rates(valkey)
    ctx = limited_tenant("a", tokens_per_minute=10**6, tokens_per_month=10**6)

    async def request() -> None:
        held = shared.of(ctx).hold(secrets.token_hex(16))
        try:
            await held.reserve(100)
            await asyncio.sleep(60)
        finally:
            await held.settle(0)

    for number in range(40):
        task = asyncio.create_task(request())
        await asyncio.sleep(0.0002 * number)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert int(await valkey.hget("bulkhead:{a}:tokens", "sum") or 0) == 0  # type: ignore[arg-type, misc]
    month = await valkey.hgetall(f"bulkhead:{{a}}:month:{datetime.now(UTC):%Y-%m}")  # type: ignore[misc]
    assert month == {b"spent": b"0", b"held": b"0"}


async def test_without_limits_nothing_of_the_month_is_kept(valkey: Redis) -> None:
    await hold(rates(valkey), limited_tenant("a", tokens_per_month=100), 10)
    await hold(rates(valkey), limited_tenant("a"), 10**9)
    assert not await valkey.exists(f"bulkhead:{{a}}:month:{datetime.now(UTC):%Y-%m}")


async def test_without_the_server_nothing_is_let_in(tmp_path: Path) -> None:
    redis = connect(tmp_path / "nobody.sock")
    with pytest.raises(OverloadedError):
        await rates(redis).of(limited_tenant("a")).hold("request").reserve(1)
    await redis.aclose()
