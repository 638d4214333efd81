"""One re-embedding over all gateways that share a vector store and a database.

The epoch counts the times at which another generation may have taken over. A gateway knows the one
that it has followed; a write that it commits in another one is refused, in the transaction of the
commit. So nobody commits what the generation of now does not hold, however long it stood still.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from isolation.context import OperatorContext, require_operator
from rag.errors import VectorsMovingError
from serving.control.database import Database, utc_now
from serving.control.errors import ReembeddingLostError, ReembeddingRunsError
from serving.control.tables import GatewayRow, VectorMoveRow

# As a document's claim: gateways' clocks differ by less than half of it.
_LEASE = timedelta(seconds=60)
_RENEW_SECONDS = 15.0
# A gateway that was silent for so long is not waited for.
_SILENT = timedelta(seconds=20)
_POLL_SECONDS = 0.1


class Moves:
    """This gateway among the others. `epoch`: up to which it has followed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._token = uuid.uuid4().hex
        self.epoch = 0
        # A switch was asked for, and it is not known whether it was done.
        self._in_doubt = False

    async def now(self) -> tuple[int, str | None]:
        """The epoch, and the embedding model's name that was moved to last."""
        async with self._database.transaction() as session:
            row = await _row(session)
            return row.epoch, row.embedding

    async def agreed(self, look: Callable[[], Awaitable[str]]) -> tuple[int, str]:
        """The epoch, and the collection that answers in it: what the first gateway that looked
        behind its beginning has found. `look`: which one the alias names."""
        while True:
            async with self._database.transaction() as session:
                row = await _row(session)
            if row.collection is not None:
                return row.epoch, row.collection
            found = await look()
            first = VectorMoveRow.epoch == row.epoch, VectorMoveRow.collection.is_(None)
            async with self._database.transaction() as session:
                await _changed(session, *first, collection=found)

    async def beat(self) -> int:
        """Say that this gateway is there, and how far it has followed; the epoch of now.

        A re-embedding that is silent is ended here, in whatever step it was; it may have switched.
        """
        async with self._database.transaction() as session:
            await session.merge(GatewayRow(token=self._token, epoch=self.epoch, seen_at=utc_now()))
            row = await _row(session)
            if row.token is not None and row.expires_at is not None:
                gone = VectorMoveRow.token == row.token, VectorMoveRow.expires_at < utc_now()
                ended = {"token": None, "held": False, "epoch": row.epoch + 1, "collection": None}
                if row.expires_at < utc_now() and await _changed(session, *gone, **ended):
                    return row.epoch + 1
            return row.epoch

    async def leave(self) -> None:
        """This gateway is not waited for any more."""
        async with self._database.transaction() as session:
            await session.execute(delete(GatewayRow).where(GatewayRow.token == self._token))

    async def check_still(self) -> None:
        """Raises ReembeddingRunsError while any gateway re-embeds."""
        async with self._database.transaction() as session:
            row = await _row(session)
        if row.token is not None and row.expires_at is not None and row.expires_at > utc_now():
            raise ReembeddingRunsError

    @asynccontextmanager
    async def taken(
        self, operator: OperatorContext, embedding: str | None
    ) -> AsyncGenerator[None, None]:
        """The re-embedding is this gateway's while the block runs.

        embedding: the model's name, by which the others find it; None: it stays.

        Raises:
            ReembeddingRunsError: it is another's, or this gateway has to follow one first.
        """
        require_operator(operator, "re-embedding")
        free = VectorMoveRow.token.is_(None), VectorMoveRow.epoch == self.epoch
        mine: dict[str, Any] = {"token": self._token, "expires_at": utc_now() + _LEASE}
        if embedding is not None:
            mine["embedding"] = embedding
        async with self._database.transaction() as session:
            if not await _changed(session, *free, **mine):
                raise ReembeddingRunsError
        renewing = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
            # In doubt, commits wait until the lease has run out, which is longer than any request
            # may still be under way; then every gateway looks which generation answers.
            if not self._in_doubt:
                async with self._database.transaction() as session:
                    await _changed(session, self._mine, token=None, held=False)
            self._in_doubt = False

    @asynccontextmanager
    async def held(self, operator: OperatorContext, collection: str) -> AsyncGenerator[None, None]:
        """Nothing is committed, at any gateway, while the block runs; behind it lies another epoch,
        in which `collection` answers.

        Raises:
            ReembeddingLostError: this gateway was silent for too long, and others go on without.
        """
        require_operator(operator, "re-embedding")
        await self._set(held=True, expires_at=utc_now() + _LEASE)
        try:
            yield
        except BaseException:
            if not self._in_doubt:
                with suppress(ReembeddingLostError):
                    await self._set(held=False)
            raise
        await self._set(held=False, epoch=self.epoch + 1, collection=collection)
        self.epoch += 1
        self._in_doubt = False

    async def require_held(self) -> None:
        """Directly before the switch: the lease is this gateway's for long enough.

        Raises:
            ReembeddingLostError: it is not.
        """
        await self._set(held=True, expires_at=utc_now() + _LEASE)
        self._in_doubt = True

    async def followed(self, operator: OperatorContext) -> None:
        """Returns when every gateway that is there has followed, and asks the last generation
        nothing any more."""
        require_operator(operator, "re-embedding")
        await self.beat()
        while await self._behind():  # noqa: ASYNC110 - it can only be asked
            await asyncio.sleep(_POLL_SECONDS)

    async def _behind(self) -> bool:
        there = GatewayRow.seen_at > utc_now() - _SILENT, GatewayRow.epoch < self.epoch
        async with self._database.transaction() as session:
            await session.execute(delete(GatewayRow).where(GatewayRow.seen_at < utc_now() - _LEASE))
            return await session.scalar(select(GatewayRow).where(*there).limit(1)) is not None

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            async with self._database.transaction() as session:
                await _changed(session, self._mine, expires_at=utc_now() + _LEASE)

    async def _set(self, **values: Any) -> None:
        async with self._database.transaction() as session:
            if not await _changed(session, self._mine, **values):
                raise ReembeddingLostError

    @property
    def _mine(self) -> Any:
        return VectorMoveRow.token == self._token


async def require_epoch(session: AsyncSession, epoch: int, *, committing: bool) -> None:
    """In the transaction of a write, of a gateway that has followed up to `epoch`.

    Raises:
        VectorsMovingError: it has to follow first; or, if it commits, nothing is committed now.
    """
    # Locked for reading: a switch that begins now waits until the write's transaction has ended.
    query = select(VectorMoveRow).with_for_update(read=True)
    row = (await session.scalars(query.execution_options(populate_existing=True))).one()
    if row.epoch != epoch or (committing and row.held):
        raise VectorsMovingError


async def _row(session: AsyncSession) -> VectorMoveRow:
    return (await session.scalars(select(VectorMoveRow))).one()


async def _changed(session: AsyncSession, *where: Any, **values: Any) -> bool:
    change = update(VectorMoveRow).where(*where).values(**values)
    change = change.execution_options(synchronize_session=False)
    return bool(cast(CursorResult[Any], await session.execute(change)).rowcount)
