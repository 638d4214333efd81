"""A request that kills the engine is not tried for ever (decision 39).

When an engine dies, each request that it had is a suspect. Suspects are tried one at a time, so
that the next death says which of them it was; one that is answered is none any more.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Protocol

import structlog

from isolation.context import TenantContext, require_tenant
from isolation.fair_slots import FairSlots
from serving.errors import (
    DeadlineExceededError,
    EngineBrokeOffError,
    RequestQuarantinedError,
)

_log = structlog.get_logger(__name__)


class TenantCrashes(Protocol):
    """What one tenant's requests did to engines."""

    async def counts(self) -> Mapping[str, int]:
        """How many died with each, by its hash; suspicions that are an hour old are none."""

    async def crashed(self, request_hash: str, model: str, worker: str) -> None:
        """This worker died with it."""

    async def answered(self, request_hash: str) -> None:
        """It was not the one."""


class Crashes(Protocol):
    """What requests did to engines. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantCrashes:
        """The tenant's own."""


class Suspects:
    """All tenants' suspects, and the line in which they are tried. Bind it first.

    key: what requests are hashed with; a hash says nothing of a request to who has it not.
    most: with so many crashes, a request is not tried any more.
    """

    def __init__(self, crashes: Crashes, key: bytes, *, most: int) -> None:
        self._crashes = crashes
        self._key = key
        self._most = most
        # Tenants in turns: who has many suspects does not keep the others' waiting.
        self._line = FairSlots(1)

    def of(self, ctx: TenantContext) -> TenantSuspects:
        """The tenant's own."""
        tenant = require_tenant(ctx, "the suspects")
        return TenantSuspects(tenant, self._crashes.of(tenant), self._key, self._line, self._most)


class TenantSuspects:
    """One tenant's suspects."""

    def __init__(
        self, ctx: TenantContext, crashes: TenantCrashes, key: bytes, line: FairSlots, most: int
    ) -> None:
        self._ctx = ctx
        self._crashes = crashes
        self._key = key
        self._line = line
        self._most = most

    @asynccontextmanager
    async def trying(
        self, request: Callable[[], bytes], model: str, *, wait_seconds: float
    ) -> AsyncGenerator[Trying, None]:
        """Try a request on the engine while the block runs.

        request: gives all of it that an engine could die of, in a form that is the same each time.
            It is asked only where there are suspects, or one is made.

        Raises:
            RequestQuarantinedError: too many engines have died with it.
            DeadlineExceededError: other suspects were tried meanwhile.
        """
        trying = Trying(self._crashes, lambda: self._hash(request()), model)
        suspected = await self._checked(trying)
        if suspected:
            await self._enter(wait_seconds)
        try:
            if suspected:
                # One that is like it may have been tried meanwhile.
                trying.suspected = await self._checked(trying)
            yield trying
        except EngineBrokeOffError:
            await asyncio.shield(trying.crashed())
            raise
        finally:
            if suspected:
                self._line.leave(self._ctx)

    async def _checked(self, trying: Trying) -> bool:
        counts = await self._crashes.counts()
        if not counts:
            return False
        count = counts.get(trying.request_hash, 0)
        if count >= self._most:
            raise RequestQuarantinedError(trying.request_hash)
        return count > 0

    async def _enter(self, wait_seconds: float) -> None:
        try:
            async with asyncio.timeout(wait_seconds):
                await self._line.enter(self._ctx)
        except TimeoutError:
            raise DeadlineExceededError from None
        self._line.charge(self._ctx, input_tokens=1)

    def _hash(self, request: bytes) -> str:
        content = f"{self._ctx.tenant_id}\0".encode() + request
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()[:16]


class Trying:
    """One request at the engine. worker: the engine that has it, once that is known."""

    def __init__(self, crashes: TenantCrashes, hashed: Callable[[], str], model: str) -> None:
        self._crashes = crashes
        self._hashed = hashed
        self._model = model
        self.suspected = False
        self.worker = ""

    @cached_property
    def request_hash(self) -> str:
        """What the request is known by."""
        return self._hashed()

    async def answered(self) -> None:
        """The engine has answered it and lives."""
        if self.suspected:
            await self._crashes.answered(self.request_hash)

    async def crashed(self) -> None:
        """The engine broke off with it."""
        _log.warning("request.suspected", ref=self.request_hash)
        await self._crashes.crashed(self.request_hash, self._model, self.worker)
