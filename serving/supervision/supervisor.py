"""Keeps one process running, for as long as this one runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import structlog

from serving.supervision.process import Command, GuardedProcess

FIRST_DELAY = 1.0
LONGEST_DELAY = 30.0
SETTLED_AFTER = 60.0

_log = structlog.get_logger(__name__)


class Process(Protocol):
    """What a supervisor needs of a process."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> int:
        """Its exit status, once it has ended."""

    async def stop(self) -> int:
        """Ends it, if it has not ended, and says its exit status."""


class Launch(Protocol):
    """Starts a process."""

    async def __call__(self, command: Command, *, log: Path) -> Process: ...


async def _at_once() -> None:
    """Readiness of a process that is ready when it has started."""


def _nothing(status: int) -> None:
    """What follows an exit where nobody listens."""


class Supervisor:
    """Restarts a process that ends, after 1 s, 2 s, 4 s ... 30 s, and 1 s again once it lived 60 s.

    make_command: asked anew before every start, so that it can choose a free port.
    ready: returns when the process serves; raising means that it never will, and it is stopped.
        The process is `starting` until then.
    on_exit: told the exit status of every process that has ended, stopped ones included.

    Log lines carry the name, ids and statuses: no command, no environment, no error text.
    """

    def __init__(
        self,
        name: str,
        make_command: Callable[[], Command],
        log: Path,
        *,
        ready: Callable[[], Awaitable[None]] = _at_once,
        on_exit: Callable[[int], None] = _nothing,
        launch: Launch = GuardedProcess.start,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._make_command = make_command
        self._log_file = log
        self._ready = ready
        self._on_exit = on_exit
        self._launch = launch
        self._clock = clock
        self._sleep = sleep
        self._state = "stopped"
        self._running = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """`starting`, `running`, `backing off for N s` or `stopped`."""
        return self._state

    def start(self) -> None:
        """Starts supervising, in the background. Does nothing if it already does."""
        if self._task is None:
            self._task = asyncio.create_task(self._supervise(), name=f"supervise {self._name}")

    async def until_running(self) -> None:
        """Returns once the process is `running`."""
        await self._running.wait()

    async def close(self) -> None:
        """Stops the process with all its descendants, for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        self._enter("stopped")

    def _enter(self, state: str) -> None:
        self._state = state
        if state == "running":
            self._running.set()
        else:
            self._running.clear()

    async def _supervise(self) -> None:
        delay = FIRST_DELAY
        while True:
            started = self._clock()
            try:
                await self._live_once()
            except Exception as error:  # whatever it was, the next try may succeed
                _log.warning("supervised.failed", process=self._name, error=type(error).__name__)
            if self._clock() - started >= SETTLED_AFTER:
                delay = FIRST_DELAY
            self._enter(f"backing off for {delay:g} s")
            await self._sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _live_once(self) -> None:
        self._enter("starting")
        process = await self._launch(self._make_command(), log=self._log_file)
        _log.info("supervised.started", process=self._name, pid=process.pid)
        try:
            await self._attend(process)
        finally:
            self._enter("stopped")
            status = await process.stop()
            _log.info("supervised.ended", process=self._name, pid=process.pid, status=status)
            self._on_exit(status)

    async def _attend(self, process: Process) -> None:
        """Returns when the process has ended; raises what `ready` raises."""
        ended = asyncio.ensure_future(process.wait())
        ready = asyncio.ensure_future(self._ready())
        try:
            await asyncio.wait({ended, ready}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return
            ready.result()
            self._enter("running")
            await ended
        finally:
            ended.cancel()
            ready.cancel()
            await asyncio.wait({ended, ready})
