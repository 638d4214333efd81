"""The gateway's link to one engine: no client is handed out before the engine has been probed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from isolation.context import TenantContext
from serving.engine.client import EngineClient
from serving.engine.probe import probe
from serving.errors import EngineRefusedError, EngineUnavailableError

_CHECK_SECONDS = 5.0
_REFUSED_SECONDS = 30.0

_log = structlog.get_logger(__name__)


class EngineLink:
    """Watches an engine that runs elsewhere, and probes it anew each time it comes back.

    An engine that went away may have come back as another one: without the plugin, or of another
    version. So the proof does not outlive the connection. adapters: whether it must take them.
    """

    def __init__(
        self,
        client: EngineClient,
        probe_tenant: TenantContext,
        *,
        on_refused: Callable[[str], None],
        adapters: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._probe_tenant = probe_tenant
        self._on_refused = on_refused
        self._adapters = adapters
        self._sleep = sleep
        self._ready = False
        self._detail = "the engine has not answered yet"
        self._task: asyncio.Task[None] | None = None

    @property
    def detail(self) -> str:
        """What `/readyz` says of the engine."""
        return self._detail

    @property
    def ready(self) -> bool:
        """Whether the engine has been probed and still answers."""
        return self._ready

    def client(self) -> EngineClient:
        """The engine.

        Raises:
            EngineUnavailableError: there is none that has passed the probe.
        """
        if not self._ready:
            raise EngineUnavailableError
        return self._client

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch(), name="engine link")

    async def close(self) -> None:
        """Stop watching and close all connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._ready = False
        await self._client.close()

    async def _watch(self) -> None:
        while True:
            try:
                await self._check()
                await self._sleep(_CHECK_SECONDS if self._ready else 0.5)
            except EngineRefusedError as error:
                self._ready, self._detail = False, error.message
                _log.error("engine.refused", code=error.code)
                self._on_refused(error.message)
                await self._sleep(_REFUSED_SECONDS)

    async def _check(self) -> None:
        if not await self._client.alive():
            if self._ready:
                _log.warning("engine.lost")
            self._ready, self._detail = False, "the engine does not answer"
        elif not self._ready or not self._client.identified:
            await self._prove()

    async def _prove(self) -> None:
        self._detail = "the engine is being probed"
        try:
            await probe(self._client, self._probe_tenant, adapters=self._adapters)
        except EngineUnavailableError:
            return
        self._ready, self._detail = True, "ready"
        _log.info("engine.ready")
