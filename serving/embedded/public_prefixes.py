"""Public prefixes in a running gateway: kept in the database, and published in whichever engine is
there, again after each of its starts and flushes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from isolation.context import OperatorContext
from serving.control.public_prefixes import (
    KeptPrefix,
    PrefixStep,
    PublicPrefixRecords,
    SharedText,
)
from serving.engine.client import EngineClient
from serving.engine.public import EnginePublic, PublicPrefix, PublicState
from serving.engine.tokens import TokenCounter
from serving.errors import EngineUnavailableError, PublicPrefixRefusedError
from serving.gateway.ports import ListedPrefix
from serving.gateway.shared_beginning import shared_beginning

log = structlog.get_logger(__name__)

_EVERY = 3.0  # seconds
_STAYS = (
    "It is withdrawn. But the engine had no moment without requests, or does not answer: it stays "
    "there until the engine is flushed or started anew."
)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why the engine did not take a prefix, and what it was like then: which worker, and its room.
    One that is like that still would say the same."""

    reason: str
    worker: str
    room: int


class PublicPrefixes:
    """What the operator may do with them.

    engine: raises EngineUnavailableError where there is none. tokens: counts as its model does.
    """

    def __init__(
        self,
        records: PublicPrefixRecords,
        engine: Callable[[], EngineClient],
        tokens: Callable[[], TokenCounter],
    ) -> None:
        self._records = records
        self._engine = engine
        self._tokens = tokens
        # By the engine's name for a prefix.
        self._refused: dict[str, _Refusal] = {}

    async def publish(self, operator: OperatorContext, name: str, text: SharedText) -> ListedPrefix:
        """Share it from now on, also after the engine was started anew. Where no engine is ready,
        it waits for one.

        Raises:
            PublicPrefixRefusedError: the engine has no room for it, or its model no form.
            TooManyPublicPrefixesError: as many as may be are there.
        """
        prefix = self._prefix(text)
        with suppress(EngineUnavailableError):
            # Before it is kept: what is refused changes nothing.
            await EnginePublic(self._engine()).measure(operator, prefix)
        kept = await self._records.put(operator, name, text)
        length = None
        with suppress(EngineUnavailableError, PublicPrefixRefusedError):
            # Where that fails, `keep` tries again and says why.
            length = await EnginePublic(self._engine()).publish(operator, prefix)
        return ListedPrefix(kept, "waiting" if length is None else "published", "", length)

    async def list(
        self, operator: OperatorContext
    ) -> tuple[Sequence[ListedPrefix], PublicState | None]:
        """All of them, and the engine's public part; None where no engine can be asked."""
        kept = await self._records.list(operator)
        try:
            there = await EnginePublic(self._engine()).state(operator)
        except EngineUnavailableError:
            there = None
        return [self._listed(one, there) for one in kept], there

    async def get(
        self, operator: OperatorContext, name: str
    ) -> tuple[KeptPrefix, Sequence[PrefixStep]]:
        """One of them, and the audit trail of its name.

        Raises:
            PublicPrefixNotFoundError: there is none of this name.
        """
        kept = await self._records.get(operator, name)
        return kept, await self._records.steps(operator, name)

    async def withdraw(self, operator: OperatorContext, name: str, *, now: bool) -> None:
        """Publish it no more. Tenants' prefixes stand on it in the engine, so it stays there until
        the engine's next flush or start.

        now: flush the engine, with everybody's prefixes; what else is public comes back at once.

        Raises:
            PublicPrefixNotFoundError: there is none of this name.
            EngineUnavailableError: it was withdrawn, and the engine was not flushed.
        """
        await self._records.remove(operator, name)
        if not now:
            return
        try:
            await EnginePublic(self._engine()).flush(operator)
        except EngineUnavailableError:
            raise EngineUnavailableError(_STAYS) from None
        await self.keep(operator)

    async def keep(self, operator: OperatorContext) -> None:
        """Publish what is kept and not in the engine: one that started anew or was flushed has
        nothing.

        Raises:
            EngineUnavailableError: there is none, or it does not answer.
        """
        kept = await self._records.list(operator)
        prefixes = [self._prefix(one.text) for one in kept]
        if not prefixes:
            return
        client = self._engine()
        there = await EnginePublic(client).state(operator)
        for prefix in prefixes:
            if prefix.name not in there.names:
                await self._published(operator, client, prefix, there)

    async def _published(
        self,
        operator: OperatorContext,
        client: EngineClient,
        prefix: PublicPrefix,
        now: PublicState,
    ) -> None:
        before = self._refused.get(prefix.name)
        if before is not None and (before.worker, before.room) == (client.incarnation, now.room):
            return
        try:
            await EnginePublic(client).publish(operator, prefix)
        except PublicPrefixRefusedError as error:
            log.warning("public_prefix.refused", code=error.code)
            refusal = _Refusal(error.message, client.incarnation, now.room)
            self._refused[prefix.name] = refusal
        else:
            self._refused.pop(prefix.name, None)

    def _prefix(self, text: SharedText) -> PublicPrefix:
        return shared_beginning(self._tokens(), text.system, text.tools)

    def _listed(self, kept: KeptPrefix, there: PublicState | None) -> ListedPrefix:
        name = self._prefix(kept.text).name
        if there is not None and name in there.names:
            return ListedPrefix(kept, "published")
        refusal = self._refused.get(name)
        if there is None or refusal is None:
            return ListedPrefix(kept, "waiting")
        return ListedPrefix(kept, "refused", refusal.reason)


@asynccontextmanager
async def keeping(
    prefixes: PublicPrefixes, operator: OperatorContext, every: float = _EVERY
) -> AsyncGenerator[None, None]:
    """While the block runs, the engine is looked at every few seconds."""
    watching = asyncio.create_task(_watch(prefixes, operator, every), name="public prefixes")
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch(prefixes: PublicPrefixes, operator: OperatorContext, every: float) -> None:
    while True:
        try:
            await prefixes.keep(operator)
        except EngineUnavailableError:
            pass  # the gateway says so elsewhere
        except Exception as error:
            # The database is away: there is a next time.
            log.warning("public_prefixes_not_kept", kind=type(error).__name__)
        await asyncio.sleep(every)
