"""A request's hold on an adapter in the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, TypeVar

from isolation.context import TenantContext, require_same_tenant, require_tenant
from serving.adapters.errors import AdapterUnavailableError
from serving.adapters.ports import AdapterRecord
from serving.adapters.residency import Residency
from serving.adapters.resident import Resident
from serving.errors import EngineUnavailableError

T = TypeVar("T")


class Lease:
    """A request's hold: while it lasts, the adapter stays in the engine under `engine_name`."""

    def __init__(self, resident: Resident) -> None:
        self._resident = resident
        self.engine_name = resident.engine_name
        self.failed = False

    async def guarded(self, stream: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """The stream, until its end or the adapter's revocation, whichever comes first.

        Raises:
            AdapterUnavailableError: it was revoked. What the engine computes is stopped.
        """
        revoked = asyncio.create_task(self._resident.revoked.wait())
        try:
            async with aclosing(stream) as items:
                while True:
                    following = asyncio.ensure_future(anext(items, None))
                    try:
                        await asyncio.wait(
                            {following, revoked}, return_when=asyncio.FIRST_COMPLETED
                        )
                    finally:
                        await _stopped(following)
                    if revoked.done():
                        raise AdapterUnavailableError("The adapter was taken out of service.")
                    item = following.result()
                    if item is None:
                        return
                    yield item
        finally:
            revoked.cancel()


async def _stopped(task: asyncio.Future[Any]) -> None:
    """Wait until a task that is not done has taken its cancellation."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    elif not task.cancelled():
        task.exception()  # retrieved: a revocation may be raised in its place


class AdapterLeases:
    """Everybody's holds. Bind it first."""

    def __init__(self, residency: Residency) -> None:
        self._residency = residency

    def of(self, ctx: TenantContext) -> TenantLeases:
        """The tenant's own."""
        return TenantLeases(self._residency, require_tenant(ctx, "the engine's adapters"))


class TenantLeases:
    """One tenant's adapters in the engine."""

    def __init__(self, shared: Residency, ctx: TenantContext) -> None:
        self._shared = shared
        self._ctx = ctx

    def prefetch(self, record: AdapterRecord) -> None:
        """Begin to load, if there is a place: the request that needs it is on its way."""
        require_same_tenant(self._ctx, record.tenant, "the engine's adapters")
        with suppress(EngineUnavailableError):
            self._shared.begin(self._ctx, record)

    @asynccontextmanager
    async def lease(self, record: AdapterRecord, deadline: float) -> AsyncGenerator[Lease, None]:
        """Hold a version in the engine while the block runs. `deadline`: monotonic clock, seconds.

        Raises:
            AdapterUnavailableError: no place until then, revoked, or it cannot be loaded.
        """
        require_same_tenant(self._ctx, record.tenant, "the engine's adapters")
        resident = await self._shared.take(self._ctx, record, deadline)
        lease = Lease(resident)
        try:
            yield lease
        except EngineUnavailableError:
            lease.failed = True
            raise
        finally:
            self._shared.give_back(resident, failed=lease.failed)
