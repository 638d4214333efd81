"""One writer a document, across gateways, and no commit while the vectors move to others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from rag.catalog import Claim, TenantCatalog
from rag.errors import DocumentBusyError, VectorsMovingError

T = TypeVar("T")
# How often a write looks whether another gateway has let go of the document, and how long it waits.
BUSY_POLL = 0.1
_BUSY_SECONDS = 10.0
# How long a write waits for another gateway's switch, and for this one to follow it.
_MOVING_SECONDS, _MOVING_POLL = 60.0, 0.2


class DocumentClaims:
    """One tenant's. publishing: a block in which the generation of now does not change."""

    def __init__(
        self,
        catalog: TenantCatalog,
        publishing: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._catalog = catalog
        self._publishing = publishing

    @asynccontextmanager
    async def claimed(
        self, document_id: str, version: str | None = None
    ) -> AsyncGenerator[Claim, None]:
        """The document, for this writer alone. What goes wrong is noted, for who comes next.

        Raises:
            DocumentBusyError: another writer keeps it.
            VectorsMovingError: a switch elsewhere does not end.
        """
        claim = await self._claim(document_id, version)
        try:
            yield claim
        except BaseException:
            await self._catalog.let_go(claim)
            raise

    async def _claim(self, document_id: str, version: str | None) -> Claim:
        """The document, once whoever writes it now has finished, or after some seconds never."""
        begun = time.monotonic()
        while True:
            try:
                return await self._catalog.begin(document_id, version)
            except (DocumentBusyError, VectorsMovingError) as error:
                busy = isinstance(error, DocumentBusyError)
                if time.monotonic() - begun > (_BUSY_SECONDS if busy else _MOVING_SECONDS):
                    raise
                await asyncio.sleep(BUSY_POLL)

    async def settled(self, claim: Claim, step: Callable[[], Awaitable[T]]) -> T:
        """`step`, which commits; again, while a switch elsewhere is under way or to be followed.

        Raises:
            VectorsMovingError: it does not end.
        """
        begun = time.monotonic()
        while True:
            try:
                async with self._publishing():
                    return await step()
            except VectorsMovingError:
                if time.monotonic() - begun > _MOVING_SECONDS:
                    raise
            await asyncio.sleep(_MOVING_POLL)
            await self._catalog.renew(claim)
