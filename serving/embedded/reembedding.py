"""Re-embedding in a running gateway: one at a time, in the background, with its progress."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import structlog

from isolation.context import OperatorContext, require_operator
from isolation.errors import BulkheadError
from rag.embedding.choice import installed
from rag.reembed import Progress
from serving.control.errors import ReembeddingRunsError
from serving.embedded.knowledge import Knowledge

log = structlog.get_logger(__name__)


class GatewayReembedding:
    """Starts it, and says how far it is."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._task: asyncio.Task[None] | None = None
        self._progress = Progress()
        self._state: dict[str, Any] = {"state": "none"}

    async def start(self, operator: OperatorContext, embedding: str) -> None:
        """Begin with an installed model's name; with the one of now, what was deleted is dropped.

        Raises:
            ReembeddingRunsError: one is under way, perhaps at another gateway.
            UnknownEmbeddingError: there is no such model.
        """
        require_operator(operator, "re-embedding")
        if self._task is not None and not self._task.done():
            raise ReembeddingRunsError
        if self._knowledge.moves is not None:
            await self._knowledge.moves.check_still()
        embedder = await asyncio.to_thread(installed, embedding)
        self._progress = Progress()
        self._state = {"state": "running", "embedding": embedding}

        async def run() -> None:
            try:
                points = await self._knowledge.refill(
                    operator, embedder, self._progress, embedding=embedding
                )
                self._state |= {"state": "done", "points": points}
            except BulkheadError as error:
                self._state |= {"state": "failed", "detail": error.message}
            except Exception as error:
                log.error("reembedding_failed", kind=type(error).__name__)
                self._state |= {"state": "failed", "detail": "See the log."}

        self._task = asyncio.create_task(run())

    def status(self, operator: OperatorContext) -> dict[str, Any]:
        """Its state (`none`, `running`, `done`, `failed`) and progress."""
        require_operator(operator, "re-embedding")
        return self._state | asdict(self._progress)

    async def close(self) -> None:
        """Stop it where it is; it is gone on with when it is started again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
