"""Places that are shared, given to whoever has received the least (weighted virtual counters)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from isolation.context import TenantContext, require_tenant
from isolation.vtc import VirtualTokenCounters


class FairSlots:
    """`slots` places, and all tenants' lines before them. One event loop only.

    Whoever holds a place keeps it: no cost should be much greater than others.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._counters: VirtualTokenCounters[asyncio.Future[None]] = VirtualTokenCounters()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._counters)

    @property
    def free(self) -> int:
        """How many slots are free."""
        return self._free

    @asynccontextmanager
    async def turn(self, ctx: TenantContext, cost: int) -> AsyncGenerator[None, None]:
        """Wait for a slot and hold it while the block runs."""
        await self.enter(ctx)
        try:
            self.charge(ctx, input_tokens=cost)
            yield
        finally:
            self.leave(ctx)

    async def enter(self, ctx: TenantContext) -> None:
        """Returns with a slot. Whoever is cancelled meanwhile has none."""
        tenant = require_tenant(ctx, "the queue").tenant_id
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._counters.add(tenant, granted)
        self._grant()
        try:
            await granted
        except BaseException:
            if granted.done() and not granted.cancelled():
                self.leave(ctx)  # it was granted in the same instant, and goes on
            else:
                self._counters.discard(tenant, granted)
            raise

    def leave(self, ctx: TenantContext) -> None:
        """Give the slot to whom it is due."""
        self._counters.done(ctx.tenant_id)
        self._free += 1
        self._grant()

    def charge(self, ctx: TenantContext, *, input_tokens: int = 0, output_tokens: int = 0) -> None:
        """Account what the tenant has received."""
        self._counters.charge(
            ctx.tenant_id,
            weight=ctx.tier.weight,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )

    def _grant(self) -> None:
        while self._free and len(self._counters):
            tenant, granted = self._counters.pop()
            if granted.cancelled():  # its task has not run since, and so is still in the line
                self._counters.done(tenant)
                continue
            self._free -= 1
            granted.set_result(None)
