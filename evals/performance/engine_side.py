"""Engines to compare: ours, and SGLang as it is, started alike and asked by the same client."""

from __future__ import annotations

import asyncio
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from isolation.context import TenantContext
from isolation.namespaces import Namespace
from isolation.testing.contexts import tenant_for_tests
from serving.engine.client import EngineClient, Job, TokenUsage
from serving.engine.launch import Launched, Worker, launch
from serving.engine.proof import ProofSigner
from serving.supervision.process import Command, GuardedProcess

_START_SECONDS = 300
Progress = Callable[[str], None]
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
            while not await client.alive():
                if process.exited:
                    lines = (folder / "engine.log").read_text().splitlines()[-20:]
                    raise RuntimeError("the engine ended at its start:\n" + "\n".join(lines))
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


def asker_of(client: EngineClient, name: str) -> Asker:
    """The tenant of this name, in a namespace that nobody had before."""
    return Asker(client, tenant_for_tests(name), Namespace(secrets.token_hex(32)))


async def decoded(client: EngineClient, words: int, streams: int, tokens: int) -> float:
    """Output tokens per second of as many tenants; their prompts are in the cache before."""
    pairs = [
        (asker_of(client, f"speed-{number}"), [{"role": "user", "content": random_words(words)}])
        for number in range(streams)
    ]
    for asker, messages in pairs:
        await asker.ask(messages, 1)
    begun = time.perf_counter()
    asked = (asker.ask(messages, tokens, whole=True) for asker, messages in pairs)
    answers = await asyncio.gather(*asked)
    spent = time.perf_counter() - begun
    if any(2 * answer.usage.cached < answer.usage.prompt for answer in answers):
        raise RuntimeError("a prompt was not in the cache: this would measure its prefill")
    return sum(answer.usage.completion for answer in answers) / spent


def random_words(count: int) -> str:
    """Words that nobody sent before, of four or five tokens each."""
    return " ".join(secrets.token_hex(2) for _ in range(count))


@asynccontextmanager
async def running_sides(
    worker: Worker,
    progress: Progress,
    ours: Mapping[str, bool],
    others: Mapping[str, Callable[[Command], Command]],
) -> AsyncGenerator[dict[str, EngineClient], None]:
    """Our engine and others without the plugin, all running; `ours`: its clients, and whether each
    has its slots scrubbed. others: how each is started instead."""
    signer = ProofSigner(secrets.token_bytes(32), secrets.token_bytes(32))
    async with AsyncExitStack() as stack:
        sides: dict[str, EngineClient] = {}
        plans = [({name: False}, how, StockClient) for name, how in others.items()]
        for names, changed, make in (*plans, (ours, lambda command: command, EngineClient)):
            progress(f"starting: {', '.join(names)}")
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            launched = await stack.enter_async_context(
                running_engine(worker, folder, signer, changed)
            )
            for name, scrub in names.items():
                client = make(
                    launched.url,
                    model="base",
                    api_key=launched.api_key,
                    signer=signer,
                    scrub=scrub,
                )
                stack.push_async_callback(client.close)
                sides[name] = client
        yield sides


async def in_turns(
    sides: Mapping[str, EngineClient],
    phases: Mapping[str, Callable[[EngineClient], Awaitable[float]]],
    rounds: int,
    progress: Progress,
) -> dict[str, dict[str, list[float]]]:
    """What each phase gives on each side, round by round, the sides in random order."""
    rates: dict[str, dict[str, list[float]]] = {p: {n: [] for n in sides} for p in phases}
    for number in range(rounds):
        for phase, measured in phases.items():
            progress(f"{phase}: round {number + 1} of {rounds}")
            for name in random.sample(list(sides), len(sides)):
                rates[phase][name].append(await measured(sides[name]))
    return rates


def ratio_of_rounds(rates: Sequence[float], others: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(ratios_of_rounds(rates, others))


def ratios_of_rounds(rates: Sequence[float], others: Sequence[float]) -> list[float]:
    """Round by round: what slows the machine in a round slows both sides."""
    return [a / b for a, b in zip(rates, others, strict=True)]
