"""Changes a platform's data in a process of its own, which kills itself at a place in it, as
nothing can be caught or cleaned up after.

A place is a method, `module:Class.name`, before or after its nth call.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Awaitable, Callable
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from evals.performance.hashed_embedder import HashedEmbedder
from isolation.masking.findings import Finding
from isolation.masking.policy import MaskingPolicy
from isolation.masking.workers import WorkersOnDemand
from isolation.tenant_id import tenant_id
from isolation.testing.contexts import tenant_for_tests
from rag import pipeline
from rag.documents import Document
from rag.reembed import Progress
from rag.store.edge import settling
from serving.control.errors import TenantExistsError
from serving.embedded.core import Core, open_core
from serving.settings import Settings

# Of a book, and of its second edition; several steps of the store's, which are shorter here.
CHUNKS, MORE_CHUNKS, STEP = 140, 180, 40
MASKED = MaskingPolicy.model_validate({"documents": {}})
ACME, BIRCH = tenant_for_tests("acme"), tenant_for_tests("birch")


def old() -> HashedEmbedder:
    return HashedEmbedder(8, "old")


def new() -> HashedEmbedder:
    return HashedEmbedder(16, "new")


def settings(data: Path, embedding: str = "old") -> Settings:
    return Settings(data_dir=data, embedding=f"{__name__}:{embedding}", master_key="m" * 40)


def book(word: str, chunks: int = CHUNKS) -> Document:
    """A document that is changed in several steps."""
    sections = "".join(f"## Part {n}\n\n{word} number {n}.\n\n" for n in range(chunks))
    return Document("book", "Book", sections)


async def parts_are_persons(_: WorkersOnDemand, text: str, locale: str | None) -> list[Finding]:
    """In place of the analysis, whose processes take seconds to start."""
    return [Finding(*match.span(), "PERSON") for match in re.finditer(r"Part \d+", text)]


async def prepared(core: Core) -> None:
    """Two tenants with a book each, of the same id."""
    for ctx in (ACME, BIRCH):
        try:
            await core.registry.add(core.operator, tenant_id(str(ctx.tenant_id)), "business")
        except TenantExistsError:
            return
        await core.ingestor.of(ctx).ingest(book(f"first-{ctx.tenant_id}"))


async def _replace(core: Core) -> None:
    await core.ingestor.of(ACME).ingest(book("second-acme", MORE_CHUNKS))


async def _replace_masked(core: Core) -> None:
    await core.policies.set(core.operator, tenant_id("acme"), MASKED)
    await core.ingestor.of(ACME).ingest(book("second-acme", MORE_CHUNKS))


async def _delete(core: Core) -> None:
    await core.ingestor.of(ACME).delete("book")


async def _delete_tenant(core: Core) -> None:
    await core.deletion.delete(core.operator, ACME.tenant_id)


async def _reembed(core: Core) -> None:
    await core.knowledge.refill(core.operator, new(), Progress())


async def _optimize(core: Core) -> None:
    await core.knowledge.refill(core.operator, old(), Progress(), build_indexes=True)


ACTIONS: dict[str, Callable[[Core], Awaitable[None]]] = {
    "replace": _replace,
    "replace_masked": _replace_masked,
    "delete": _delete,
    "delete_tenant": _delete_tenant,
    "reembed": _reembed,
    "optimize": _optimize,
}


def _kill_at(place: str, when: str, nth: int) -> None:
    module, _, name = place.partition(":")
    owner: Any = import_module(module)
    *classes, method = name.split(".")
    for one in classes:
        owner = getattr(owner, one)
    original, calls = getattr(owner, method), 0

    def due() -> bool:
        nonlocal calls
        calls += 1
        return calls == nth

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def slow(*arguments: Any, **named: Any) -> Any:
        last = due()
        if last and when == "before":
            die()
        result = await original(*arguments, **named)
        if last:
            die()
        return result

    def quick(*arguments: Any, **named: Any) -> Any:
        last = due()
        if last and when == "before":
            die()
        result = original(*arguments, **named)
        if last:
            die()
        return result

    setattr(owner, method, slow if asyncio.iscoroutinefunction(original) else quick)


def run(said: Connection, data: Path, action: str, place: str, when: str, nth: int) -> None:
    """The process's whole life. Says `begun` when the action begins, `done` when it is
    acknowledged."""
    asyncio.run(_run(said, data, action, place, when, nth))


async def _run(said: Connection, data: Path, action: str, place: str, when: str, nth: int) -> None:
    WorkersOnDemand.find = parts_are_persons  # type: ignore[method-assign]
    settling._BATCH = pipeline.BATCH = STEP
    async with open_core(settings(data)) as core:
        await prepared(core)
        if place:
            _kill_at(place, when, nth)
        said.send("begun")
        await ACTIONS[action](core)
        said.send("done")
        os.kill(os.getpid(), signal.SIGKILL)
