"""Engines to compare: ours, and SGLang as it is, started alike and asked by the same client."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from isolation.context import TenantContext
from isolation.namespaces import Namespace
from serving.engine.client import EngineClient, Job, TokenUsage
from serving.engine.launch import Launched, Worker, launch
from serving.engine.proof import ProofSigner
from serving.supervision.process import Command, GuardedProcess

_START_SECONDS = 300
Messages = Sequence[Mapping[str, str]]


class StockClient(EngineClient):
    """Speaks to SGLang without the plugin, which overlooks proofs."""

    async def identify(self) -> str:
        self._worker = "stock"
        return self._worker


def stock(command: Command) -> Command:
    """The same worker without the plugin."""
    argv = ["serving.engine_plugin.stock_worker" if "worker" in a else a for a in command.argv[:-1]]
    return Command([*argv, command.argv[-1]], command.env)


@asynccontextmanager
async def running_engine(
    worker: Worker,
    folder: Path,
    signer: ProofSigner,
    changed: Callable[[Command], Command] = lambda command: command,
) -> AsyncGenerator[Launched, None]:
    """A worker by itself; it answers inside, and is stopped at the end."""
    launched = launch(worker, folder, signer.trust())
    process = await GuardedProcess.start(
        changed(launched.command), log=folder / "engine.log", grace=0.5
    )
    client = EngineClient(launched.url, model="base", api_key=launched.api_key, signer=signer)
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not await client.alive():  # noqa: ASYNC110 - it can only be asked
                await asyncio.sleep(0.5)
        yield launched
    finally:
        await client.close()
        await process.stop()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it was received; seconds from the request to its end."""

    text: str
    usage: TokenUsage
    seconds: float


@dataclass(frozen=True, slots=True)
class Asker:
    """One tenant at one engine."""

    client: EngineClient
    ctx: TenantContext
    namespace: Namespace

    async def ask(self, messages: Messages, max_tokens: int, *, whole: bool = False) -> Answer:
        """One generation. `whole`: it ends at `max_tokens` and not before."""
        sampling = {"temperature": 0, "ignore_eos": whole}
        job = Job(secrets.token_hex(16), messages, max_tokens, sampling)
        begun, texts, usage = time.perf_counter(), [], None
        async for delta in self.client.of(self.ctx, self.namespace).stream(job):
            texts.append(delta.text)
            usage = delta.usage or usage
        if usage is None:
            raise RuntimeError("the engine reports no usage")
        return Answer("".join(texts), usage, time.perf_counter() - begun)
