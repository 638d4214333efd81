"""A gateway beside others: it says that it is there, and follows what another one switched to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from isolation.context import OperatorContext
from rag.errors import VectorsMovingError
from serving.control.errors import ReembeddingRunsError
from serving.control.moves import Moves
from serving.embedded.knowledge import Knowledge

log = structlog.get_logger(__name__)


class Following:
    """Looks from time to time, until it is closed."""

    def __init__(
        self, knowledge: Knowledge, moves: Moves, operator: OperatorContext, every: float = 2.0
    ) -> None:
        self._knowledge = knowledge
        self._moves = moves
        self._operator = operator
        self._every = every
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin: from now on this gateway is waited for."""
        await self._moves.beat()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Look no more, and be waited for by nobody."""
        self._closing.set()
        # Not cancelled: that could leave a transaction open, and SQLite locked.
        if self._task is not None:
            await self._task
        await self._look(self._moves.leave)

    async def _run(self) -> None:
        await self._look(self._tidy)
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._every)
            await self._look(self._follow)

    async def _look(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except Exception as error:
            # The database or the server is away, or the model is not installed here yet.
            log.warning("following_failed", kind=type(error).__name__)

    async def _follow(self) -> None:
        if await self._moves.beat() != self._moves.epoch:
            await self._knowledge.follow(self._operator)

    async def _tidy(self) -> None:
        with suppress(ReembeddingRunsError, VectorsMovingError):
            await self._knowledge.tidy(self._operator)
