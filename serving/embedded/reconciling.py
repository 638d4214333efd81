"""Writes that a dead gateway left, finished by one that lives. Where several gateways may write."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from isolation.context import OperatorContext
from rag.catalog import CLAIM_SECONDS
from rag.ingest import Ingestor

log = structlog.get_logger(__name__)


class Reconciling:
    """Looks from time to time, until it is closed."""

    def __init__(
        self, ingestor: Ingestor, operator: OperatorContext, every: float = CLAIM_SECONDS / 2
    ) -> None:
        self._ingestor = ingestor
        self._operator = operator
        self._every = every
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                done = await self._ingestor.reconcile(self._operator, alone=False)
            except Exception as error:
                # The store or the database is away: there is a next time.
                log.warning("reconciling_failed", kind=type(error).__name__)
            else:
                if done:
                    log.info("writes_finished", writes=done)
