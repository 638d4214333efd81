"""Which adapters are in the engine: many more are registered than fit.

One load at a time for each, whoever asks; what a request holds stays; the rest makes room as
`eviction` says, for those who wait in `waiting`'s order, as fast as `pace` allows. Plaintext
weights exist in a private folder in memory, for the length of the load.
The engine is never asked to serve a name that it was not seen to load in this life of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from isolation.context import TenantContext
from serving.adapters.accounting import account
from serving.adapters.engine_names import EngineName, EngineNames
from serving.adapters.errors import (
    AdapterPlacesTakenError,
    AdapterTamperedError,
    AdapterUnavailableError,
)
from serving.adapters.eviction import (
    Choice,
    Places,
    choose_to_close,
    choose_victim,
    expected_wait,
)
from serving.adapters.lora_engine import LoraEngine, is_out, unload_strangers
from serving.adapters.memory import PrivateMemory
from serving.adapters.neighbours import Shared
from serving.adapters.pace import LoadPace
from serving.adapters.ports import AdapterRecord
from serving.adapters.registry import AdapterRegistry
from serving.adapters.resident import Key, Resident, key_of
from serving.adapters.waiting import Closing, Waiter, WaitingLine
from serving.errors import EngineUnavailableError
from serving.key_wrapping import KeyNotOpenedError
from serving.metering.metrics import Metrics
from serving.metering.residency import ResidencySink

# Tiers of this engine priority or above: theirs are pinned.
_PINNED_PRIORITY = 2
_KEEPER_SECONDS = 30.0
_FAREWELL_SECONDS = 10.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ResidencyParts:
    """What the manager is made of.

    shared: None where no other gateway loads into the engine. grace: seconds for which answers in
    flight may go on when their version is revoked.
    """

    engine: LoraEngine
    registry: AdapterRegistry
    memory: PrivateMemory
    names: EngineNames
    sink: ResidencySink
    metrics: Metrics
    places: Places
    shared: Shared | None = None
    grace: float = 0.0


class Residency:
    """Everybody's residents, for `leases` alone. One event loop only."""

    def __init__(self, parts: ResidencyParts) -> None:
        self._parts = parts
        self._all: dict[EngineName, Resident] = {}
        self._current: dict[Key, Resident] = {}
        self._evicted_at: dict[Key, float] = {}
        self._incarnation = ""
        self._cleaning: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._pace = LoadPace(parts.places.loading)
        self._line = WaitingLine(self, self.give_back, parts.metrics.adapter_waits.inc)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._keeper: asyncio.Task[None] | None = None
        parts.registry.reaches(self.gone)

    def start(self) -> None:
        """Begin to account, and to repeat what failed."""
        self._keeper = asyncio.create_task(self._keep(), name="adapter residency")

    async def close(self) -> None:
        """Account for what is there and stop. The engine forgets its adapters at its own end."""
        self._line.close()
        tasks = self._tasks | ({self._keeper} if self._keeper else set())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for resident in self._all.values():
            await account(resident, self._parts.sink)

    def held(self) -> Sequence[Resident]:
        """All that is in the engine or on its way, in or out."""
        return list(self._all.values())

    async def gone(self, records: Sequence[AdapterRecord], *, at_once: bool = False) -> None:
        """These were revoked or removed: nobody gets them from now on, their streams end, and then
        they leave the engine. Returns when they have, or when their streams have a grace.

        at_once: without the grace.
        """
        keys = {key_of(record) for record in records}
        # Also those that serve nobody else already: a stream may hold one all the same.
        ended = [r for r in self._all.values() if key_of(r.record) in keys]
        for resident in ended:
            if not resident.ending:
                self._end(resident)
        if at_once or not self._parts.grace:
            await self._farewell(ended)
        else:
            self._spawn(self._graced(ended))

    async def _graced(self, ended: Sequence[Resident]) -> None:
        await self._until_out(ended, self._parts.grace)
        await self._farewell(ended)

    async def _farewell(self, ended: Sequence[Resident]) -> None:
        for resident in ended:
            resident.revoked.set()
        await self._until_out(ended, _FAREWELL_SECONDS)

    async def _until_out(self, ended: Sequence[Resident], seconds: float) -> None:
        until = _now() + seconds
        while any(resident.engine_name in self._all for resident in ended):
            if not await self._until_changed(until - _now()):
                return

    def begin(self, ctx: TenantContext, record: AdapterRecord) -> None:
        """Load the version if it is not there and a place is; those who wait come first."""
        self._notice_engine()
        if not len(self._line):
            self._found(ctx, record)

    async def take(self, ctx: TenantContext, record: AdapterRecord, deadline: float) -> Resident:
        """A resident that is loaded and held for the caller, who gives it back.

        Raises:
            AdapterUnavailableError: no place until `deadline` (monotonic clock), or it cannot be
                loaded.
        """
        while True:
            held = await self._line.wait(ctx, record, deadline)
            try:
                await self._until_loaded(held, deadline)
            except BaseException:
                self.give_back(held)
                raise
            if not held.ending:
                return held
            self.give_back(held)
            if held.revoked.is_set():
                raise AdapterUnavailableError("The adapter was taken out of service.")

    def found(self, waiter: Waiter, closing: Closing) -> Resident | Choice:
        """For the line alone."""
        self._notice_engine()
        resident = self._current.get(waiter.key)
        if resident is not None and resident in closing:
            return Choice(None)
        return self._found(waiter.ctx, waiter.record)

    def close_one(self, waiter: Waiter, closing: Closing) -> None:
        """For the line alone."""
        ctx = waiter.ctx
        closed = choose_to_close(
            self._all.values(),
            closing,
            ctx.tenant_id,
            pinned=self._is_pinned(ctx),
            places=self._parts.places,
            now=_now(),
        )
        if closed is not None:
            closing.residents.append(closed)

    def hopeless(self, ahead: int, seconds: float) -> bool:
        """For the line alone."""
        return expected_wait(ahead, self._all.values(), self._parts.places) > seconds

    def give_back(self, resident: Resident, *, failed: bool = False) -> None:
        """End a hold. `failed`: the engine did not serve it, so the next request loads it anew."""
        resident.leases -= 1
        resident.used_at = _now()
        if failed and not resident.ending:
            self._leave(resident)
        if resident.ending and not resident.leases:
            self._spawn(self._unload(resident))
        self._notify()

    def _found(self, ctx: TenantContext, record: AdapterRecord) -> Resident | Choice:
        """The version's resident, being loaded if it is not there; or why there is no place."""
        resident = self._current.get(key_of(record))
        if resident is not None:
            return resident
        victim = None
        if len(self._all) >= self._parts.places.capacity:
            choice = self._choice(ctx)
            if choice.victim is None:
                return choice
            held_until = self._pace.held_until(_now())
            if held_until is not None:
                self._parts.metrics.adapter_thrash.inc()
                return Choice(None, held_until)
            victim = choice.victim
            self._leave(victim)
            self._pace.began()
        return self._load_begun(ctx, record, victim)

    def _choice(self, ctx: TenantContext) -> Choice:
        return choose_victim(
            self._all.values(),
            ctx.tenant_id,
            pinned=self._is_pinned(ctx),
            places=self._parts.places,
            now=_now(),
        )

    def _is_pinned(self, ctx: TenantContext) -> bool:
        taken = sum(resident.pinned for resident in self._all.values())
        return ctx.tier.priority >= _PINNED_PRIORITY and taken < self._parts.places.pinned

    def _load_begun(
        self, ctx: TenantContext, record: AdapterRecord, victim: Resident | None
    ) -> Resident:
        name = self._parts.names.new(record)
        resident = Resident(ctx, record, name, self._is_pinned(ctx), used_at=_now())
        self._all[name] = self._current[key_of(record)] = resident
        resident.loading = self._spawn(self._load(resident, victim))
        soon = self._evicted_at.pop(key_of(record), None) is not None
        self._parts.metrics.adapter_loads.labels("reload" if soon else "cold").inc()
        return resident

    async def _load(self, resident: Resident, victim: Resident | None) -> None:
        begun = _now()
        try:
            await self._loaded_instead(resident, victim)
            resident.loaded_at = resident.accounted_at = resident.used_at = _now()
            resident.load_seconds = resident.loaded_at - begun
        except (EngineUnavailableError, AdapterTamperedError, KeyNotOpenedError) as error:
            _log.error("adapter.refused", error=type(error).__name__)
            await self._not_loaded(resident)
            raise AdapterUnavailableError from error
        except BaseException:
            await asyncio.shield(self._not_loaded(resident))
            raise
        finally:
            if victim is not None:
                self._pace.ended(_now(), _now() - begun)
            self._notify()

    async def _loaded_instead(self, resident: Resident, victim: Resident | None) -> None:
        await self._cleaned()
        if victim is not None:
            await self._unload(victim)
            if victim.engine_name in self._all:
                raise AdapterPlacesTakenError
        await self._placed(resident)

    async def _placed(self, resident: Resident) -> None:
        own = self._parts.registry.of(resident.ctx)
        with self._parts.memory.folder() as folder:
            resident.size = await own.place(resident.record, folder)
            resident.asked = True
            await self._parts.engine.load(resident.engine_name, folder)
        if resident.engine_name not in self._all:
            # The engine was replaced meanwhile; whichever has it must not keep it.
            raise EngineUnavailableError

    async def _not_loaded(self, resident: Resident) -> None:
        self._leave(resident)
        if not resident.asked or await is_out(self._parts.engine, resident.engine_name):
            self._all.pop(resident.engine_name, None)

    def _end(self, resident: Resident) -> None:
        """It serves nobody else; it leaves the engine once nobody holds it."""
        self._leave(resident)
        if not resident.leases:
            self._spawn(self._unload(resident))

    def _leave(self, resident: Resident) -> None:
        resident.ending = True
        if self._current.get(key_of(resident.record)) is resident:
            del self._current[key_of(resident.record)]

    async def _unload(self, resident: Resident) -> None:
        """Out of the engine, or still listed as ending: the keeper tries again."""
        if resident.loading is not None and not resident.loading.done():
            await asyncio.wait({resident.loading})
        if resident.engine_name not in self._all:
            return
        out = await is_out(self._parts.engine, resident.engine_name)
        await account(resident, self._parts.sink)
        if out:
            self._out(resident)

    def _out(self, resident: Resident) -> None:
        self._all.pop(resident.engine_name, None)
        now, recent = _now(), self._parts.places.stale_seconds
        self._evicted_at = {k: at for k, at in self._evicted_at.items() if now - at < recent}
        self._evicted_at[key_of(resident.record)] = now
        self._notify()

    def _notice_engine(self) -> None:
        """An engine that started anew has nothing loaded, whatever was loaded before."""
        incarnation = self._parts.engine.incarnation
        if incarnation == self._incarnation:
            return
        for resident in self._all.values():
            resident.ending = True
        self._all, self._current = {}, {}
        self._incarnation, self._cleaning = incarnation, None

    async def _cleaned(self) -> None:
        """Once in the engine's life, before the first load."""
        if self._cleaning is None or (self._cleaning.done() and not _succeeded(self._cleaning)):
            self._cleaning = self._spawn(self._tidied())
        await asyncio.shield(self._cleaning)

    async def _tidied(self) -> None:
        await unload_strangers(self._parts.engine, lambda: self._all, self._parts.shared)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_KEEPER_SECONDS)
            for resident in list(self._all.values()):
                if resident.ending and not resident.leases:
                    await self._unload(resident)
                else:
                    await account(resident, self._parts.sink)
            if self._parts.shared is not None:
                # A neighbour may have died, and what it loaded takes up places.
                with suppress(EngineUnavailableError, AdapterUnavailableError):
                    await self._tidied()

    async def _until_loaded(self, resident: Resident, deadline: float) -> None:
        assert resident.loading is not None
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(resident.loading)
        except TimeoutError:
            raise AdapterPlacesTakenError from None

    async def _until_changed(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _notify(self) -> None:
        """A place may be free, and what was awaited may be there."""
        self._changed.set()
        self._changed = asyncio.Event()
        self._line.serve()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Told to whoever waits; a prefetch has nobody.
            _log.warning("adapter.not_loaded", error=type(error).__name__)


def _succeeded(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is None


def _now() -> float:
    return asyncio.get_running_loop().time()
