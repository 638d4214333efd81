"""The queue before the engine: as many requests run as it has slots, chosen by fairness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from isolation.context import TenantContext, require_tenant
from serving.errors import DeadlineExceededError
from serving.scheduler.vtc import VirtualTokenCounters


class FairQueue:
    """All tenants' lines. Bind it first. One event loop only."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._counters: VirtualTokenCounters[asyncio.Future[None]] = VirtualTokenCounters()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._counters)

    @property
    def free(self) -> int:
        """How many slots are free."""
        return self._free

    def of(self, ctx: TenantContext) -> TenantLine:
        """The line of this tenant."""
        return TenantLine(self, require_tenant(ctx, "the queue"))

    async def enter(self, ctx: TenantContext, deadline: float) -> None:
        """Returns with a slot.

        Raises:
            DeadlineExceededError: none came until `deadline`.
        """
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._counters.add(ctx.tenant_id, granted)
        self._grant()
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                await granted
        except BaseException as error:
            self._withdraw(ctx, granted)
            if isinstance(error, TimeoutError):
                raise DeadlineExceededError from None
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

    def _withdraw(self, ctx: TenantContext, granted: asyncio.Future[None]) -> None:
        """The waiter is gone: out of the line, or a slot granted in the same instant goes on."""
        if granted.done() and not granted.cancelled():
            self.leave(ctx)
        else:
            self._counters.discard(ctx.tenant_id, granted)


class TenantLine:
    """One tenant's waiting line."""

    def __init__(self, queue: FairQueue, ctx: TenantContext) -> None:
        self._queue = queue
        self._ctx = ctx

    @asynccontextmanager
    async def turn(
        self, *, prompt_tokens: int, deadline: float
    ) -> AsyncGenerator[TenantTurn, None]:
        """Wait for a slot and hold it while the block runs.

        Raises:
            DeadlineExceededError: none came until `deadline` (monotonic clock, seconds).
        """
        await self._queue.enter(self._ctx, deadline)
        try:
            self._queue.charge(self._ctx, input_tokens=prompt_tokens)
            yield TenantTurn(self._queue, self._ctx)
        finally:
            self._queue.leave(self._ctx)


class TenantTurn:
    """A slot held by a request."""

    def __init__(self, queue: FairQueue, ctx: TenantContext) -> None:
        self._queue = queue
        self._ctx = ctx

    def charge(self, *, output_tokens: int) -> None:
        """Account output as it comes."""
        self._queue.charge(self._ctx, output_tokens=output_tokens)
