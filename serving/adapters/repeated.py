"""A question that is asked again and again, and an alarm when it has had no answer for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

_log = structlog.get_logger(__name__)


class Repeated:
    """Asks every `every` seconds, until it is closed.

    `alarm` is called when it had no answer for `patience` seconds, and then after every attempt
    that fails. jumps: also when an answer comes after so long a gap, because of what others do
    about whoever is silent. A process that merely stood still raises no alarm for that: it asks
    anew, and only the second attempt without an answer counts.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[None]],
        alarm: Callable[[], None],
        *,
        every: float,
        patience: float,
        jumps: bool = False,
    ) -> None:
        self._ask = ask
        self._alarm = alarm
        self._every = every
        self._patience = patience
        self._jumps = jumps
        self._answered_at = 0.0
        self._failures = 0
        self._asking: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, as if it had been answered just now."""
        self._answered_at = _now()
        self._task = asyncio.create_task(self._run(), name="repeated")

    async def close(self) -> None:
        """Ask no more."""
        self._closing.set()
        # Not cancelled: that could leave a transaction open, and SQLite locked.
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._closing.is_set():
            error = await self._attempt()
            if error is None:
                self._answered()
            else:
                self._failed(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._every)

    async def _attempt(self) -> BaseException | None:
        """What was in the way of an answer. What hangs is cancelled; there is never one beside."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._once(), name="repeated, once")
        await asyncio.wait({self._asking}, timeout=self._patience / 4)
        if not self._asking.done():
            self._asking.cancel()
            return TimeoutError()
        return TimeoutError() if self._asking.cancelled() else self._asking.exception()

    async def _once(self) -> None:
        await self._ask()

    def _answered(self) -> None:
        gap, self._answered_at = _now() - self._answered_at, _now()
        if self._failures > 1:
            _log.info("adapter.watch_resumed")
        self._failures = 0
        if self._jumps and gap >= self._patience:
            self._alarm()

    def _failed(self, error: BaseException) -> None:
        self._failures += 1
        if self._failures == 1:
            _log.warning("adapter.watch_failed", error=type(error).__name__)
        if self._failures > 1 and _now() - self._answered_at >= self._patience:
            self._alarm()


def _now() -> float:
    return asyncio.get_running_loop().time()
