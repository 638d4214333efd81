"""The gateways that load adapters, and when each was last there.

Two that share an engine must not take each other's adapters for what a dead gateway left. A gateway
says that it is there before it loads anything, and again every few seconds; whoever is silent for
`_SILENT` is dead to the others. Before that it has noticed its silence itself, and holds nothing
any more: `PATIENCE_SECONDS` and gateways' clocks, which differ by less than half a minute, together
are shorter.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from serving.adapters.errors import AdapterUnavailableError
from serving.adapters.neighbours import Neighbours
from serving.control.database import Database, utc_now
from serving.control.tables import AdapterGatewayRow

BEAT_SECONDS = 5.0
PATIENCE_SECONDS = 20.0
_SILENT = timedelta(seconds=60)
_FORGOTTEN = timedelta(days=1)


class GatewayPresence(Neighbours):
    """This gateway among those of its database. `owner`: its own id, the same in its next life."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def beat(self) -> None:
        """Say that this gateway is there."""
        now = utc_now()
        long_gone = delete(AdapterGatewayRow).where(AdapterGatewayRow.seen_at < now - _FORGOTTEN)
        async with self._database.transaction() as session:
            await session.execute(long_gone)
            await session.merge(AdapterGatewayRow(owner=self._owner, seen_at=now))

    async def leave(self) -> None:
        """This gateway is there no more: what it left in an engine may be tidied away."""
        mine = delete(AdapterGatewayRow).where(AdapterGatewayRow.owner == self._owner)
        async with self._database.transaction() as session:
            await session.execute(mine)

    async def owners(self) -> Collection[str]:
        others = select(AdapterGatewayRow.owner).where(
            AdapterGatewayRow.owner != self._owner, AdapterGatewayRow.seen_at > utc_now() - _SILENT
        )
        try:
            async with self._database.transaction() as session:
                return set(await session.scalars(others))
        except SQLAlchemyError as error:
            raise AdapterUnavailableError from error
