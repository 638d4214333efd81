"""kill -9 at every step of what changes documents: what was acknowledged is kept, what was not is
absent or whole, and the other tenant's never changes. Every part is real but the embedding."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from isolation.context import TenantContext
from rag.catalog import CatalogEntry
from rag.errors import UnsafeCollectionError
from rag.export import DocumentBegins, Exporter
from rag.retrieval.follow_up import Question
from serving.embedded.core import Core, open_core
from tests.embedded import killed
from tests.embedded.forks import FORKS
from tests.embedded.killed import ACME, BIRCH, CHUNKS, MORE_CHUNKS, settings

SIZES = {"first": CHUNKS, "second": MORE_CHUNKS}
_CATALOG = "serving.control.catalog:_SqlTenantCatalog"
_STORE = "rag.store.edge.collection:EdgeTenantCollection"
_STEP = "rag.store.edge.settling:_changed"
_GENERATIONS = "rag.store.edge.generations:EdgeGenerations"

# What is killed, at which place, and what is acknowledged then: the old, the new, or nothing yet.
REPLACED = [
    (f"{_CATALOG}.begin", "after", 1, "first"),
    (f"{_STORE}.stage", "after", 2, "first"),
    (f"{_CATALOG}.commit", "before", 1, "first"),
    (f"{_CATALOG}.commit", "after", 1, "second"),
    (_STEP, "after", 1, "second"),
    (_STEP, "after", 3, "second"),
    (f"{_CATALOG}.finish", "after", 1, "second"),
    ("", "", 0, "second"),
]
_VAULTS = "serving.control.vaults:_SqlTenantVaults"
MASKED = [
    (f"{_VAULTS}.put", "after", 2, "first"),
    (f"{_CATALOG}.commit", "before", 1, "first"),
    (f"{_CATALOG}.commit", "after", 1, "second"),
    (f"{_VAULTS}.keep", "before", 1, "second"),
    ("", "", 0, "second"),
]
DELETED = [
    (f"{_CATALOG}.begin", "after", 1, "first"),
    (f"{_CATALOG}.remove", "before", 1, "first"),
    (f"{_CATALOG}.remove", "after", 1, None),
    (_STEP, "after", 1, None),
    (f"{_STORE}.delete", "after", 1, None),
    ("", "", 0, None),
]
TENANT_DELETED = [
    ("serving.control.tenants:TenantRegistry.begin_deletion", "after", 1),
    (_STEP, "after", 1),
    ("rag.store.edge.store:EdgeVectorStore.purge", "after", 1),
    ("serving.control.catalog:SqlDocumentCatalog.purge", "after", 1),
    ("serving.control.tenants:TenantRegistry.finish_deletion", "before", 1),
    ("", "", 0),
]
REFILLED = [
    (f"{_GENERATIONS}.fill", "after", 1, "old"),
    (f"{_STORE}.stage", "after", 1, "old"),
    (f"{_STORE}.publish", "after", 1, "old"),
    (f"{_GENERATIONS}.switch", "before", 1, "old"),
    (f"{_GENERATIONS}.switch", "after", 1, "new"),
    (f"{_GENERATIONS}.drop_others", "before", 1, "new"),
    ("", "", 0, "new"),
]


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tenants with a book each, made once."""
    folder = tmp_path_factory.mktemp("books") / "data"

    async def make() -> None:
        async with open_core(settings(folder)) as core:
            await killed.prepared(core)

    asyncio.run(make())
    return folder


@pytest.fixture
def data(books: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(books, tmp_path / "data"))


def _killed(data: Path, action: str, place: str, when: str, nth: int) -> None:
    receiving, sending = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=killed.run, args=(sending, data, action, place, when, nth))
    process.start()
    sending.close()
    said = []
    with suppress(EOFError):
        while True:
            said.append(receiving.recv())
    process.join()
    assert process.exitcode == -9
    assert said == (["begun"] if place else ["begun", "done"])


async def _words(core: Core, ctx: TenantContext) -> Counter[str]:
    """Of everything that is stored of the tenant and shown, each passage's first word."""
    exporter, texts = Exporter(core.ingestor, core.spool), []
    async for piece in exporter.pieces(ctx):
        if not isinstance(piece, DocumentBegins):
            texts.append(piece)
    lines = "".join(texts).splitlines()
    return Counter(line.split()[0] for line in lines if " number " in line)


async def _is_whole(core: Core, ctx: TenantContext, word: str, chunks: int) -> bool:
    """One version, all of it, in the catalogue, in the export and in the index."""
    (entry,) = await core.ingestor.of(ctx).list()
    assert isinstance(entry, CatalogEntry)
    found = await core.retriever.of(ctx).search(Question("number 5"), limit=50)
    words = {passage.text.splitlines()[-1].split()[0] for passage in found}
    stored = await core.ingestor.generation.store.of(ctx).count()
    return (
        words == {word}
        and entry.chunks == stored == chunks
        and await _words(core, ctx) == Counter({word: chunks})
    )


async def _nothing_is_left(core: Core, ctx: TenantContext) -> bool:
    stored = await core.ingestor.generation.store.of(ctx).count()
    found = await core.retriever.of(ctx).search(Question("number 5"), limit=50)
    return (stored, found, await core.ingestor.of(ctx).list()) == (0, [], [])


@pytest.mark.parametrize(("place", "when", "nth", "kept"), REPLACED)
async def test_a_replacement(data: Path, place: str, when: str, nth: int, kept: str) -> None:
    _killed(data, "replace", place, when, nth)
    async with open_core(settings(data)) as core:
        assert await _is_whole(core, ACME, f"{kept}-acme", SIZES[kept])
        assert await _is_whole(core, BIRCH, "first-birch", CHUNKS)


@pytest.mark.parametrize(("place", "when", "nth", "kept"), MASKED)
async def test_a_replacement_that_is_masked(
    data: Path, place: str, when: str, nth: int, kept: str
) -> None:
    """Of the vaults, those of what is committed are left, and no others."""
    _killed(data, "replace_masked", place, when, nth)
    async with open_core(settings(data)) as core:
        assert await _is_whole(core, ACME, f"{kept}-acme", SIZES[kept])
        found = await core.retriever.of(ACME).search(Question("number 5"), limit=5)
        assert all("Part" in one.text for one in found)
        assert {one.masked is not None for one in found} == {kept == "second"}
        versions = _versions_in_vaults(data)
        (entry,) = await core.ingestor.of(ACME).list()
        assert versions == ({entry.version} if kept == "second" else set())
        assert await _is_whole(core, BIRCH, "first-birch", CHUNKS)


def _versions_in_vaults(data: Path) -> set[str]:
    with sqlite3.connect(data / "bulkhead.db") as database:
        found = {row[0] for row in database.execute("select version from document_vaults")}
    database.close()
    return found


@pytest.mark.parametrize(("place", "when", "nth", "kept"), DELETED)
async def test_a_deletion(data: Path, place: str, when: str, nth: int, kept: str | None) -> None:
    _killed(data, "delete", place, when, nth)
    async with open_core(settings(data)) as core:
        if kept is None:
            assert await _nothing_is_left(core, ACME)
        else:
            assert await _is_whole(core, ACME, f"{kept}-acme", CHUNKS)
        assert await _is_whole(core, BIRCH, "first-birch", CHUNKS)


@pytest.mark.parametrize(("place", "when", "nth"), TENANT_DELETED)
async def test_a_tenants_deletion_is_finished(data: Path, place: str, when: str, nth: int) -> None:
    _killed(data, "delete_tenant", place, when, nth)
    async with open_core(settings(data)) as core:
        assert [tenant.id for tenant in await core.registry.list(core.operator)] == ["birch"]
        assert await _nothing_is_left(core, ACME)
        assert await _is_whole(core, BIRCH, "first-birch", CHUNKS)


@pytest.mark.parametrize(("place", "when", "nth", "made"), REFILLED)
async def test_a_re_embedding(data: Path, place: str, when: str, nth: int, made: str) -> None:
    _killed(data, "reembed", place, when, nth)
    other = {"old": "new", "new": "old"}[made]
    with pytest.raises(UnsafeCollectionError):
        async with open_core(settings(data, other)):
            pass
    async with open_core(settings(data, made)) as core:
        assert core.embedder.name == made
        generations = [path.name for path in (data / "vectors").iterdir() if path.is_dir()]
        assert sorted(generations)[0] == {"old": "0001", "new": "0002"}[made]
        for ctx in (ACME, BIRCH):
            assert await _is_whole(core, ctx, f"first-{ctx.tenant_id}", CHUNKS)
        # It is gone on with, and leaves one generation.
        await killed._reembed(core)
        for ctx in (ACME, BIRCH):
            assert await _is_whole(core, ctx, f"first-{ctx.tenant_id}", CHUNKS)
        assert len([path for path in (data / "vectors").iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize(("place", "when", "nth", "made"), REFILLED[4:6])
async def test_a_compaction(data: Path, place: str, when: str, nth: int, made: str) -> None:
    _killed(data, "optimize", place, when, nth)
    async with open_core(settings(data)) as core:
        for ctx in (ACME, BIRCH):
            assert await _is_whole(core, ctx, f"first-{ctx.tenant_id}", CHUNKS)
