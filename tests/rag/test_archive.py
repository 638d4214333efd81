"""A tenant's archive: out of one engine, into another; whole, or refused as a whole."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from isolation.context import TenantContext
from isolation.errors import RestrictedKeyError, UnmintedContextError
from isolation.testing.contexts import operator_for_tests
from rag.documents import Document
from rag.errors import ArchiveError, StoreUnavailableError
from rag.filters import Equals
from rag.ingest import Ingestor
from rag.store.edge.store import EdgeVectorStore
from rag.store.port import HybridQuery, VectorStore
from rag.store.server.connection import ServerAddress
from rag.store.server.store import ServerVectorStore
from rag.testing.group_access import key_of
from rag.testing.merchants import BOTH, FACTS, FJELLVIK, VOLTBAY
from rag.transfer import TenantTransfer
from tests.gateway.fakes import Embedder
from tests.rag.catalog_in_memory import InMemoryCatalog
from tests.rag.loopback import faults
from tests.rag.loopback.server import Loopback, loopback

OPERATOR = operator_for_tests()
QUERY = HybridQuery("returns", [1.0, 0.0])


@dataclass
class Platform:
    store: VectorStore
    ingestor: Ingestor

    @property
    def transfer(self) -> TenantTransfer:
        return TenantTransfer(self.ingestor)

    async def export(self, ctx: TenantContext, path: Path) -> Path:
        pieces = [piece async for piece in self.transfer.exported(OPERATOR, ctx)]
        path.write_bytes(b"".join(pieces))
        return path

    async def restore(self, ctx: TenantContext, path: Path, archived_as: str = "fjellvik") -> None:
        await self.transfer.restore(OPERATOR, ctx, path, archived_as)

    async def state(self, ctx: TenantContext) -> object:
        """Everything of a tenant but versions and scores."""
        listed = [
            (one.document_id, one.title, one.fingerprint, one.groups)
            for one in await self.ingestor.of(ctx).list()
        ]
        read = [
            [(p.ordinal, p.text) for p in await self.store.of(ctx).get(one[0])] for one in listed
        ]
        found = await self.store.of(ctx).search(QUERY, limit=50, where=Equals("lang", "en"))
        return listed, read, {(hit.document_id, hit.ordinal) for hit in found}


def _platform(store: VectorStore) -> Platform:
    return Platform(store, Ingestor(store, InMemoryCatalog(), Embedder()))


async def _fill(platform: Platform) -> None:
    for ctx in BOTH:
        fact = FACTS[ctx.tenant_id]
        for name, groups in (("returns", frozenset[str]()), ("terms", frozenset({"vip"}))):
            text = "\n\n".join(f"# Part {n}\n\nReturns within {fact}, {n}." for n in range(3))
            document = Document(name, "Returns", text, {"lang": "en", "year": 2024}, groups)
            await platform.ingestor.of(ctx).ingest(document)


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncGenerator[Platform, None]:
    platform = _platform(EdgeVectorStore.open(tmp_path / "edge", 2))
    await _fill(platform)
    yield platform
    await platform.store.close()


@pytest.fixture
async def loop() -> AsyncGenerator[Loopback, None]:
    async with loopback() as server:
        yield server


@pytest.fixture
async def server(loop: Loopback) -> AsyncGenerator[Platform, None]:
    platform = _platform(await ServerVectorStore.open(ServerAddress(loop.url), 2))
    yield platform
    loop.fault = None
    await platform.store.close()


async def test_a_tenant_moves_from_one_engine_to_the_other_and_back(
    edge: Platform, server: Platform, tmp_path: Path
) -> None:
    before = await edge.state(FJELLVIK)
    await server.restore(FJELLVIK, await edge.export(FJELLVIK, tmp_path / "a"))
    assert await server.state(FJELLVIK) == before
    assert await server.store.of(VOLTBAY).count() == 0
    assert {p.document_id for p in await server.store.of(key_of()).search(QUERY, limit=50)} == {
        "returns"
    }
    foreign = await edge.state(VOLTBAY)
    await edge.ingestor.of(FJELLVIK).delete("terms")
    await edge.restore(FJELLVIK, await server.export(FJELLVIK, tmp_path / "b"))
    assert await edge.state(FJELLVIK) == before
    assert await edge.state(VOLTBAY) == foreign


async def test_an_archive_holds_one_tenants_documents_only(edge: Platform, tmp_path: Path) -> None:
    text = gzip.decompress((await edge.export(FJELLVIK, tmp_path / "a")).read_bytes()).decode()
    assert FACTS["fjellvik"] in text
    assert FACTS["voltbay"] not in text
    assert "voltbay" not in text


async def test_documents_that_are_not_in_the_archive_stay(edge: Platform, tmp_path: Path) -> None:
    path = await edge.export(FJELLVIK, tmp_path / "a")
    await edge.ingestor.of(FJELLVIK).ingest(Document("new", "New", "A new one."))
    await edge.restore(FJELLVIK, path)
    assert [one.document_id for one in await edge.ingestor.of(FJELLVIK).list()] == [
        "new",
        "returns",
        "terms",
    ]


async def test_another_tenants_archive_is_refused_unless_it_is_meant(
    edge: Platform, server: Platform, tmp_path: Path
) -> None:
    path = await edge.export(FJELLVIK, tmp_path / "a")
    with pytest.raises(ArchiveError, match="another tenant's"):
        await server.restore(VOLTBAY, path, "voltbay")
    assert await server.store.of(VOLTBAY).count() == 0
    await server.restore(VOLTBAY, path, "fjellvik")
    assert await server.store.of(VOLTBAY).count() == 6
    assert await server.store.of(FJELLVIK).count() == 0


async def test_vectors_of_another_model_are_refused(
    edge: Platform, server: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await edge.export(FJELLVIK, tmp_path / "a")
    monkeypatch.setattr(Embedder, "name", "another")
    with pytest.raises(ArchiveError, match="model"):
        await server.restore(FJELLVIK, path)


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda data: gzip.compress(b"".join(change(gzip.decompress(data).splitlines(True))))


def _edited(number: int, old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(lines: list[bytes]) -> list[bytes]:
        assert old in lines[number]
        return [*lines[:number], lines[number].replace(old, new), *lines[number + 1 :]]

    return _lines(change)


_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "no gzip": lambda data: b"x" * 100,
    "half": lambda data: data[: len(data) // 2],
    "last byte": lambda data: data[:-1],
    "a flipped byte": lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    "no end": _lines(lambda lines: lines[:-1]),
    "a line too many": _lines(lambda lines: [*lines, lines[1]]),
    "a chunk less": _lines(lambda lines: [*lines[:2], *lines[3:]]),
    "chunks in another order": _lines(lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]]),
    "another text": _edited(2, b"30 days", b"99 days"),
    "another group": _edited(5, b'"vip"', b'"all"'),
    "another tenant's header": _edited(0, b"fjellvik", b"fjellvic"),
    "a later version": _edited(0, b'"version":2', b'"version":9'),
    "no document": _lines(lambda lines: [b'{"document": 1}\n', *lines[1:]]),
}


@pytest.mark.parametrize("damage", _DAMAGES.values(), ids=_DAMAGES)
async def test_a_damaged_archive_is_refused_as_a_whole(
    edge: Platform, server: Platform, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = await edge.export(FJELLVIK, tmp_path / "a")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArchiveError) as raised:
        await server.restore(FJELLVIK, path)
    assert "days" not in str(raised.value)
    assert await server.store.of(FJELLVIK).count() == 0
    assert await server.ingestor.of(FJELLVIK).list() == []


async def test_a_store_that_fails_in_the_middle_leaves_whole_documents(
    edge: Platform, server: Platform, loop: Loopback, tmp_path: Path
) -> None:
    path = await edge.export(FJELLVIK, tmp_path / "a")
    seen = [0]

    async def second(request: object) -> object:
        seen[0] += 1
        return await faults.status(503)(request) if seen[0] > 1 else None  # type: ignore[arg-type]

    loop.fault = faults.on("/points", second)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailableError):
        await server.restore(FJELLVIK, path)
    loop.fault = None
    assert [one.document_id for one in await server.ingestor.of(FJELLVIK).list()] == ["returns"]
    assert await server.store.of(FJELLVIK).count() == 3
    await server.restore(FJELLVIK, path)
    assert await server.state(FJELLVIK) == await edge.state(FJELLVIK)


async def test_only_the_operator_exports_and_only_with_a_key_that_sees_everything(
    edge: Platform, tmp_path: Path
) -> None:
    with pytest.raises(UnmintedContextError):
        await anext(edge.transfer.exported(FJELLVIK, FJELLVIK))  # type: ignore[arg-type]
    with pytest.raises(RestrictedKeyError):
        await edge.export(key_of("vip"), tmp_path / "a")
    path = await edge.export(FJELLVIK, tmp_path / "a")
    with pytest.raises(RestrictedKeyError):
        await edge.restore(key_of("vip"), path)
    assert json.loads(gzip.decompress(path.read_bytes()).splitlines()[0])["header"]["version"] == 2
