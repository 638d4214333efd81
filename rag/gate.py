"""Who has begun may finish, and nobody begins meanwhile or after."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from isolation.errors import TenantSuspendedError
from isolation.tenant_id import TenantId


class WriteGate:
    """Between a tenant's writes and its deletion, which is for good. One event loop only."""

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


class SwitchGate:
    """Between what is published and a switch of generations, which is a moment."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._running = 0

    @asynccontextmanager
    async def passing(self) -> AsyncGenerator[None, None]:
        """Around what must not meet a switch; waits for one that is under way."""
        while not self._open.is_set():
            await self._open.wait()
        self._running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    @asynccontextmanager
    async def closed(self) -> AsyncGenerator[None, None]:
        """Around the switch: what passes has passed, and nothing more does."""
        self._open.clear()
        try:
            await self._idle.wait()
            yield
        finally:
            self._open.set()
