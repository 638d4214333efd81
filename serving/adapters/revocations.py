"""What was taken out of service elsewhere: at another gateway, or by who deletes a tenant.

A gateway does not read a list of what happened; it asks whether what it holds may still be held.
So nothing is missed, whatever order commits become visible in and however long it stood still, and
nothing is asked while nothing is held. While the database does not answer, that cannot be known:
after `patience` seconds everything ends as if it were revoked, and comes back with a load, which
asks the database itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

import structlog

from isolation.context import OperatorContext
from serving.adapters.engine_names import EngineName
from serving.adapters.ports import AdapterIndex, AdapterRecord
from serving.adapters.repeated import Repeated
from serving.adapters.resident import Resident

EVERY_SECONDS = 0.5
_log = structlog.get_logger(__name__)


class Holder(Protocol):
    """What has adapters in an engine: `Residency`."""

    def held(self) -> Sequence[Resident]:
        """All that is in the engine or on its way, in or out."""

    async def gone(self, records: Sequence[AdapterRecord], *, at_once: bool = False) -> None:
        """These went out of service."""


class RevocationFollower:
    """Follows what other gateways revoke, until it is closed.

    patience: seconds without the database after which nothing is held any more.
    """

    def __init__(
        self,
        operator: OperatorContext,
        index: AdapterIndex,
        holder: Holder,
        *,
        patience: float,
        every: float = EVERY_SECONDS,
    ) -> None:
        self._operator = operator
        self._index = index
        self._holder = holder
        self._told: set[tuple[EngineName, bool]] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._looking = Repeated(self.look, self.lost, every=every, patience=patience)

    def start(self) -> None:
        """Begin to look."""
        self._looking.start()

    async def close(self) -> None:
        """Look no more."""
        await self._looking.close()
        for task in self._telling:
            task.cancel()
        if self._telling:
            await asyncio.wait(self._telling)

    async def look(self) -> None:
        """Once: what went out of service ends."""
        held = self._holder.held()
        self._forget_all_but(held)
        if not held:
            return
        ended = await self._index.out_of_service(self._operator, [r.record for r in held])
        self._tell(held, ended.revoked, at_once=False)
        self._tell(held, ended.deleted, at_once=True)

    def lost(self) -> None:
        """It is not known what is in service: nothing is held any more."""
        held = self._holder.held()
        if self._tell(held, {resident.record.upload for resident in held}, at_once=True):
            _log.error("adapter.all_ended")

    def _tell(self, held: Sequence[Resident], uploads: Collection[str], *, at_once: bool) -> bool:
        """Each load once; whether there was one."""
        ended = [
            resident
            for resident in held
            if resident.record.upload in uploads
            and (resident.engine_name, at_once) not in self._told
        ]
        if ended:
            self._told |= {(resident.engine_name, at_once) for resident in ended}
            telling = self._holder.gone([r.record for r in ended], at_once=at_once)
            # Nobody waits for it: the next look must not wait until these have left.
            task = asyncio.create_task(telling, name="adapters out of service")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        return bool(ended)

    def _forget_all_but(self, held: Sequence[Resident]) -> None:
        names = {resident.engine_name for resident in held}
        self._told = {told for told in self._told if told[0] in names}
