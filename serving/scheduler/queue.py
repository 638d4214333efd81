"""The queue before the engine: as many requests run as it has slots, chosen by fairness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from isolation.context import TenantContext, require_tenant
from isolation.fair_slots import FairSlots
from serving.errors import DeadlineExceededError


class FairQueue(FairSlots):
    """All tenants' lines. Bind it first. One event loop only."""

    def of(self, ctx: TenantContext) -> TenantLine:
        """The line of this tenant."""
        return TenantLine(self, require_tenant(ctx, "the queue"))

    async def enter_until(self, ctx: TenantContext, deadline: float) -> None:
        """Returns with a slot.

        Raises:
            DeadlineExceededError: none came until `deadline`.
        """
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                await self.enter(ctx)
        except TimeoutError:
            raise DeadlineExceededError from None


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
        await self._queue.enter_until(self._ctx, deadline)
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
