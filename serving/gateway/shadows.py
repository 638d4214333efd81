"""Answers that nobody waits for, computed behind those that were sent."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from isolation.errors import RequestRefusedError

log = structlog.get_logger(__name__)

_MOST = 64  # at once, of all tenants: a shadow is left out rather than waited for


class Shadows:
    """Those that run."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, shadow: Coroutine[Any, Any, None]) -> None:
        """Run it behind; it is left out if too many run."""
        if len(self._running) >= _MOST:
            shadow.close()
            return
        task = asyncio.create_task(_quietly(shadow))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def ended(self) -> None:
        """Returns when none runs."""
        while self._running:
            await asyncio.wait(set(self._running))

    async def close(self) -> None:
        """End all."""
        for task in self._running:
            task.cancel()
        await self.ended()


async def _quietly(shadow: Coroutine[Any, Any, None]) -> None:
    try:
        await shadow
    except RequestRefusedError as error:
        # The tenant's own limits, or no place at the engine: its customers come first.
        log.info("shadow.left_out", code=error.code)
    except Exception as error:
        log.warning("shadow.failed", kind=type(error).__name__)
