"""The engine on this machine: a supervised child, probed after every start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from isolation.context import TenantContext
from serving.engine.client import EngineClient
from serving.engine.launch import Launched, Worker, launch
from serving.engine.probe import probe
from serving.engine.proof import ProofSigner
from serving.errors import EngineRefusedError, EngineUnavailableError
from serving.supervision.process import Command, GuardedProcess
from serving.supervision.supervisor import Process, Supervisor

# It holds nothing that a longer farewell would save.
_GRACE_SECONDS = 1.0
_POLL_SECONDS = 0.25


class LocalEngine:
    """One worker below the data folder. Each start has a port and keys of its own."""

    def __init__(
        self,
        worker: Worker,
        model: str,
        data_dir: Path,
        probe_tenant: TenantContext,
        *,
        signer: ProofSigner,
        on_refused: Callable[[str], None],
        scrub: bool = True,
    ) -> None:
        self._worker = worker
        self._model = model
        self._run = data_dir / "run"
        self._probe_tenant = probe_tenant
        self._on_refused = on_refused
        self._signer = signer
        self._scrub = scrub
        self._launched: Launched | None = None
        self._client: EngineClient | None = None
        self._refused = ""
        self._clients: list[EngineClient] = []
        self.log = data_dir / "logs" / "engine.log"
        self._supervisor = Supervisor(
            "engine",
            self._command,
            self.log,
            ready=self._prove,
            on_exit=self._ended,
            launch=_launch,
        )

    @property
    def ready(self) -> bool:
        """Whether the worker has been probed and lives."""
        return self._client is not None

    @property
    def detail(self) -> str:
        """What `/readyz` says of the engine."""
        if self.ready:
            return "ready"
        return self._refused or f"the engine is {self._supervisor.state}"

    def client(self) -> EngineClient:
        """The engine.

        Raises:
            EngineUnavailableError: there is none that has passed the probe.
        """
        if self._client is None:
            raise EngineUnavailableError
        return self._client

    def start(self) -> None:
        """Start the worker, and keep it running."""
        self._supervisor.start()

    async def until_ready(self) -> None:
        """Returns once a worker has passed the probe."""
        await self._supervisor.until_running()

    async def close(self) -> None:
        """Stop the worker with all its descendants."""
        await self._supervisor.close()
        for client in self._clients:
            await client.close()

    def _command(self) -> Command:
        self._launched = launch(self._worker, self._run, self._signer.trust())
        return self._launched.command

    async def _prove(self) -> None:
        """Returns when the worker answers and has passed the probe."""
        assert self._launched is not None
        client = EngineClient(
            self._launched.url,
            model=self._model,
            api_key=self._launched.api_key,
            signer=self._signer,
            scrub=self._scrub,
        )
        self._clients.append(client)
        async with asyncio.timeout(self._worker.start_seconds):
            while not await client.alive():  # noqa: ASYNC110 - it can only be asked
                await asyncio.sleep(_POLL_SECONDS)
        try:
            await probe(client, self._probe_tenant, adapters=self._worker.lora is not None)
        except EngineRefusedError as error:
            self._refused = error.message
            self._on_refused(error.message)
            raise
        self._refused = ""
        self._client = client

    def _ended(self, status: int) -> None:
        self._client = None


async def _launch(command: Command, *, log: Path) -> Process:
    return await GuardedProcess.start(command, log=log, grace=_GRACE_SECONDS)
