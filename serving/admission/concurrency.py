"""How many requests of a tenant run at once, counted as leases in Valkey.

A lease is a member of the tenant's sorted set, scored by its expiry on the server's clock. So a
gateway that dies without a word blocks its tenants for one lease and no longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from isolation.context import TenantContext, require_tenant
from serving.admission.finishing import finished
from serving.errors import ConcurrencyLimitError, OverloadedError

_LEASE_SECONDS = 30.0

# Check and take in one script: between two commands, another request would take the same place.
_TAKE = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
_RENEW = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZADD', KEYS[1], 'XX', now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""

UNCOUNTED = "Requests cannot be counted at the moment. Try again."

_log = structlog.get_logger(__name__)


def lease_key(ctx: TenantContext) -> str:
    """Where a tenant's leases are. Braces: all keys of one live on one node of a cluster."""
    return f"bulkhead:{{{ctx.tenant_id}}}:leases"


class ValkeyConcurrency:
    """The concurrency limit of every tier, for all gateways together. Bind it first."""

    def __init__(self, redis: Redis, *, lease_seconds: float = _LEASE_SECONDS) -> None:
        self._redis = redis
        self._lease_seconds = lease_seconds
        self._take = redis.register_script(_TAKE)
        self._renew = redis.register_script(_RENEW)

    def of(self, ctx: TenantContext) -> TenantLeases:
        """The leases of this tenant."""
        return TenantLeases(self, require_tenant(ctx, "the concurrency limit"))

    async def take(self, key: str, request_id: str, limit: int) -> bool:
        """Whether there was a place, and now there is a lease on it."""
        arguments: list[str | int] = [request_id, limit, int(self._lease_seconds * 1000)]
        return bool(await self._take(keys=[key], args=arguments))

    async def keep(self, key: str, request_id: str) -> None:
        """Renew the lease until cancelled."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            try:
                await self._renew(keys=[key], args=[request_id, int(self._lease_seconds * 1000)])
            except RedisError as error:
                _log.warning("lease.not_renewed", error=type(error).__name__)

    async def give_back(self, key: str, request_id: str) -> None:
        """End the lease; if the server is away, it ends by itself."""
        try:
            await cast("Awaitable[Any]", self._redis.zrem(key, request_id))
        except RedisError as error:
            _log.warning("lease.not_returned", error=type(error).__name__)


class TenantLeases:
    """One tenant's requests in flight."""

    def __init__(self, shared: ValkeyConcurrency, ctx: TenantContext) -> None:
        self._shared = shared
        self._limit = ctx.tier.max_concurrency
        self._key = lease_key(ctx)

    @asynccontextmanager
    async def slot(self, request_id: str) -> AsyncGenerator[None, None]:
        """Hold one place while the block runs.

        Raises:
            ConcurrencyLimitError: the tier has no more.
            OverloadedError: it cannot be counted; uncounted, nothing is let in.
        """
        await self._take(request_id)
        keeper = asyncio.create_task(self._shared.keep(self._key, request_id))
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.shield(self._shared.give_back(self._key, request_id))

    async def _take(self, request_id: str) -> None:
        # Cancelled half-way, a lease could be taken with nobody to give it back.
        try:
            taken = await finished(self._shared.take(self._key, request_id, self._limit))
        except RedisError:
            raise OverloadedError(UNCOUNTED) from None
        except asyncio.CancelledError:
            await asyncio.shield(self._shared.give_back(self._key, request_id))
            raise
        if not taken:
            raise ConcurrencyLimitError
