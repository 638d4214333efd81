"""A tenant's requests and tokens of a minute, and its tokens of a month, for all gateways together.

A request reserves what it may need at most before it costs anything, and settles for what it used
when it is over, however it ends (decision 38). So what is served is never more than the limit. A
minute slides: its requests leave it one by one, and with them what a dead gateway's held.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from isolation.context import TenantContext, require_tenant
from isolation.errors import RequestRefusedError
from serving.admission.concurrency import UNCOUNTED, lease_key
from serving.admission.finishing import finished
from serving.admission.rate_scripts import BEGIN_MONTH, RESERVE, SETTLE
from serving.admission.standing import Standing
from serving.errors import (
    OverloadedError,
    QuotaExhaustedError,
    RequestRateError,
    TokenRateError,
)
from serving.metering.months import month_begin, month_end

# Tokens on a tenant's account since a moment.
Spent = Callable[[TenantContext, datetime], Awaitable[int]]
Clock = Callable[[], datetime]

_WINDOW_SECONDS = 60.0
# Requests of the old month end in the new one.
_KEPT = timedelta(days=1)
_IN_VAIN = {"x-should-retry": "false"}

_log = structlog.get_logger(__name__)


class ValkeyRates:
    """All tenants' limits. Bind it first.

    spent: what the ledger has, asked once a month and whenever the server has forgotten.
    """

    def __init__(
        self,
        redis: Redis,
        spent: Spent,
        *,
        window_seconds: float = _WINDOW_SECONDS,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self.spent = spent
        self.clock = clock
        self._window = int(window_seconds * 1000)
        self._reserve = redis.register_script(RESERVE)
        self._settle = redis.register_script(SETTLE)
        self._begin_month = redis.register_script(BEGIN_MONTH)
        self._beginning: dict[str, asyncio.Task[None]] = {}

    def of(self, ctx: TenantContext) -> TenantRates:
        """The limits of this tenant."""
        return TenantRates(self, require_tenant(ctx, "the rate limits"))

    async def reserve(
        self, keys: Keys, ctx: TenantContext, request: str, tokens: int
    ) -> tuple[str, int, Standing]:
        """The script's verdict, the ms to wait (-1: in vain), and how the tenant stands."""
        tier = ctx.tier
        limits = (tier.requests_per_minute, tier.tokens_per_minute, tier.tokens_per_month)
        numbers = [-1 if limit is None else limit for limit in limits]
        verdict, wait, requests, held, reset = await self._reserve(
            keys=[keys.minute, keys.amounts, keys.month, keys.leases],
            args=[request, tokens, self._window, *numbers],
        )
        return verdict.decode(), wait, Standing(requests, held, reset / 1000)

    async def settle(self, keys: Keys, request: str, used: int) -> None:
        """Take back what was reserved above `used`."""
        await self._settle(keys=[keys.amounts, keys.month], args=[request, used])

    async def begin_month(self, keys: Keys, ctx: TenantContext, now: datetime) -> None:
        """Ask the ledger how much of the month is spent: once, however many wait for it."""
        running = self._beginning.get(keys.month)
        if running is None:
            running = asyncio.create_task(self._begun(keys, ctx, now))
            self._beginning[keys.month] = running
            running.add_done_callback(lambda _: self._beginning.pop(keys.month))
        await asyncio.shield(running)

    async def _begun(self, keys: Keys, ctx: TenantContext, now: datetime) -> None:
        spent = await self.spent(ctx, month_begin(now))
        end = int((month_end(now) + _KEPT).timestamp())
        await self._begin_month(keys=[keys.month], args=[spent, end])


class Keys:
    """Where a tenant's numbers are. Braces: all of them live on one node of a cluster."""

    __slots__ = ("amounts", "leases", "minute", "month")

    def __init__(self, ctx: TenantContext, now: datetime) -> None:
        own = f"bulkhead:{{{ctx.tenant_id}}}"
        self.minute, self.amounts = f"{own}:minute", f"{own}:tokens"
        self.month = f"{own}:month:{now:%Y-%m}"
        self.leases = lease_key(ctx)


class TenantRates:
    """One tenant's limits."""

    def __init__(self, shared: ValkeyRates, ctx: TenantContext) -> None:
        self._shared = shared
        self._ctx = ctx

    def hold(self, request_id: str) -> ValkeyHold:
        """What one request holds: nothing yet. It must have its lease (`concurrency`)."""
        return ValkeyHold(self._shared, self._ctx, request_id)


class ValkeyHold:
    """One request's reservation. Settle it in a `finally`.

    standing: how the tenant stood right after it; None before.
    """

    def __init__(self, shared: ValkeyRates, ctx: TenantContext, request_id: str) -> None:
        self._shared = shared
        self._ctx = ctx
        self._request_id = request_id
        self._now = shared.clock()
        # One month a request: that in which it began.
        self._keys = Keys(ctx, self._now)
        self._asked, self._tokens = False, 0
        self.standing: Standing | None = None

    async def reserve(self, tokens: int) -> None:
        """Hold `tokens`: the most that the request may need. Asked again with more, it takes the
        difference; with fewer, nothing happens.

        Raises:
            RequestRateError, TokenRateError, QuotaExhaustedError: a limit does not allow it.
            OverloadedError: it cannot be counted; uncounted, nothing is let in.
        """
        if self._asked and tokens <= self._tokens:
            return
        self._asked = True
        # Cancelled half-way, it could be reserved after it was settled.
        try:
            await finished(self._reserve(tokens))
        except RedisError:
            raise OverloadedError(UNCOUNTED) from None
        self._tokens = tokens

    async def settle(self, used: int) -> None:
        """The request is over and used so many; a server that is away forgets by itself."""
        if self._asked:
            await asyncio.shield(self._settle(used))

    async def _settle(self, used: int) -> None:
        try:
            await self._shared.settle(self._keys, self._request_id, used)
        except RedisError as error:
            _log.warning("rate.not_settled", error=type(error).__name__)

    async def _reserve(self, tokens: int) -> None:
        verdict, wait = await self._asked_for(tokens)
        if verdict == "unknown":
            await self._shared.begin_month(self._keys, self._ctx, self._now)
            verdict, wait = await self._asked_for(tokens)
        if verdict != "reserved":
            raise self._refusal(verdict, wait, tokens)

    async def _asked_for(self, tokens: int) -> tuple[str, int]:
        asked = self._shared.reserve(self._keys, self._ctx, self._request_id, tokens)
        verdict, wait, self.standing = await asked
        return verdict, wait

    def _refusal(self, verdict: str, wait: int, tokens: int) -> RequestRefusedError:
        assert self.standing is not None
        headers = self.standing.headers(self._ctx.tier)
        if verdict == "month":
            left = month_end(self._now) - self._now
            headers |= _IN_VAIN | {"Retry-After": str(math.ceil(left.total_seconds()))}
            return QuotaExhaustedError(tokens, headers)
        headers |= _IN_VAIN if wait < 0 else {"Retry-After": str(max(math.ceil(wait / 1000), 1))}
        if verdict == "requests":
            return RequestRateError(headers)
        if verdict == "tokens":
            return TokenRateError(tokens, headers)
        return OverloadedError(UNCOUNTED)
