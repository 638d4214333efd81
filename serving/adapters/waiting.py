"""Requests that wait for a place for their adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from isolation.context import TenantContext
from serving.adapters.errors import AdapterPlacesTakenError
from serving.adapters.eviction import Choice
from serving.adapters.ports import AdapterRecord
from serving.adapters.resident import Key, Resident, key_of
from serving.errors import EngineUnavailableError


@dataclass(slots=True, eq=False)
class Waiter:
    """One request; `granted` is its adapter, held for it."""

    ctx: TenantContext
    record: AdapterRecord
    granted: asyncio.Future[Resident]

    @property
    def key(self) -> Key:
        """Whom it waits with."""
        return key_of(self.record)


@dataclass(slots=True)
class Closing:
    """Residents that take nobody new, since someone waits for their places."""

    residents: list[Resident] = field(default_factory=list)

    def __contains__(self, resident: object) -> bool:
        return any(resident is other for other in self.residents)


class Granting(Protocol):
    """What the line asks of the residency."""

    def found(self, waiter: Waiter, closing: Closing) -> Resident | Choice:
        """The adapter's resident, being loaded if a place is free for it; or why it must wait."""

    def close_one(self, waiter: Waiter, closing: Closing) -> None:
        """Whose turn is over takes nobody new, so that this one gets its place."""

    def hopeless(self, ahead: int, seconds: float) -> bool:
        """Whether no place can be expected in so many seconds, so many adapters waiting before."""


class WaitingLine:
    """In the order of arrival, but all requests of one adapter together: one load serves them all.

    An adapter that waits makes one that had its turn take nobody new, so that it is served however
    busy the others are; requests for the closed one wait behind it.
    """

    def __init__(
        self,
        granting: Granting,
        give_back: Callable[[Resident], None],
        waits: Callable[[], None],
    ) -> None:
        """waits: called for each request that is not served at once."""
        self._granting = granting
        self._give_back = give_back
        self._waits = waits
        self._line: list[Waiter] = []
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._line)

    async def wait(self, ctx: TenantContext, record: AdapterRecord, deadline: float) -> Resident:
        """The adapter's resident, held for the caller.

        Raises:
            AdapterPlacesTakenError: none until `deadline` (the loop's clock), or none to be
                expected until then: said at once.
        """
        loop = asyncio.get_running_loop()
        waiter = Waiter(ctx, record, loop.create_future())
        self._line.append(waiter)
        self.serve()
        if not waiter.granted.done():
            self._waits()
            self._refuse_if_hopeless(waiter, deadline - loop.time())
        try:
            async with asyncio.timeout_at(deadline):
                return await waiter.granted
        except BaseException as error:
            self._withdraw(waiter)
            if isinstance(error, TimeoutError):
                raise AdapterPlacesTakenError from None
            raise

    def serve(self) -> None:
        """Give places to whom they are due."""
        closing, waiting = Closing(), set[Key]()
        again: list[float] = []
        left: list[Waiter] = []
        for waiter in self._line:
            if waiter.granted.done():  # cancelled; its task has not run since
                continue
            try:
                joins = waiter.key in waiting
                found = Choice(None) if joins else self._granting.found(waiter, closing)
            except EngineUnavailableError as error:
                waiter.granted.set_exception(error)
                continue
            if isinstance(found, Resident):
                found.leases += 1
                waiter.granted.set_result(found)
                continue
            left.append(waiter)
            if waiter.key not in waiting:
                waiting.add(waiter.key)
                self._granting.close_one(waiter, closing)
            if found.again_at is not None:
                again.append(found.again_at)
        self._line = left
        self._look_again(min(again, default=None))

    def close(self) -> None:
        """Look at nothing again."""
        self._look_again(None)

    def _look_again(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if at is not None and at != inf:  # who is due at the end of something is woken by it
            self._timer = asyncio.get_running_loop().call_at(at, self.serve)

    def _refuse_if_hopeless(self, waiter: Waiter, seconds: float) -> None:
        ahead = {other.key for other in self._line} - {waiter.key}
        if self._granting.hopeless(len(ahead), seconds):
            self._line.remove(waiter)
            raise AdapterPlacesTakenError("Too many adapters are asked for. Try again shortly.")

    def _withdraw(self, waiter: Waiter) -> None:
        """It is gone: out of the line; or what was granted in the same instant goes on."""
        if waiter in self._line:
            self._line.remove(waiter)
            self.serve()
        elif not waiter.granted.cancelled() and waiter.granted.exception() is None:
            self._give_back(waiter.granted.result())
