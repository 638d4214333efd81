"""Between a tenant's writes and its deletion: who has begun may finish, nobody begins after."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from isolation.errors import TenantSuspendedError
from isolation.tenant_id import TenantId


class WriteGate:
    """Counts running writes by tenant. One event loop only."""

    def __init__(self) -> None:
        self._running: Counter[TenantId] = Counter()
        self._closed: dict[TenantId, asyncio.Event] = {}

    @contextmanager
    def passing(self, tenant: TenantId) -> Generator[None, None, None]:
        """Around one write.

        Raises:
            TenantSuspendedError: the tenant is closed.
        """
        if tenant in self._closed:
            raise TenantSuspendedError
        self._running[tenant] += 1
        try:
            yield
        finally:
            self._running[tenant] -= 1
            if not self._running[tenant]:
                del self._running[tenant]
                if tenant in self._closed:
                    self._closed[tenant].set()

    async def close(self, tenant: TenantId) -> None:
        """Let no further write begin; returns when the running ones have ended."""
        idle = self._closed.setdefault(tenant, asyncio.Event())
        if self._running[tenant]:
            await idle.wait()
