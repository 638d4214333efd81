"""Generations of Qdrant Edge: folders, and the file that names the one that answers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from evals.performance.hashed_embedder import HashedEmbedder
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import Chunk, Document, DocumentVersion, EmbeddedChunk
from rag.errors import UnsafeCollectionError
from rag.ingest import Ingestor
from rag.store.edge import generations as layout
from rag.store.edge.generations import EdgeGenerations
from rag.store.edge.store import EdgeVectorStore
from rag.store.generations import MadeWith
from rag.store.port import HybridQuery
from rag.store.terms import TermSpace
from tests.rag.catalog_in_memory import InMemoryCatalog

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
OLD, NEW = MadeWith("old", 4, "a"), MadeWith("new", 8, "b")


async def test_the_first_open_makes_a_generation_and_the_next_one_finds_it(tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    await (await EdgeGenerations(folder).open(OLD)).close()
    assert (folder / "current").read_text() == "0001\n"
    manifest = json.loads((folder / "0001" / "manifest.json").read_text())
    assert (manifest["model"], manifest["dimension"], manifest["checksum"]) == ("old", 4, "a")
    await (await EdgeGenerations(folder).open(OLD)).close()
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["0001"]


@pytest.mark.parametrize("made", [NEW, MadeWith("old", 4, "other weights")])
async def test_another_models_vectors_are_refused_with_the_way_out(
    tmp_path: Path, made: MadeWith
) -> None:
    await (await EdgeGenerations(tmp_path).open(OLD)).close()
    with pytest.raises(UnsafeCollectionError, match="bulkhead reembed"):
        await EdgeGenerations(tmp_path).open(made)


async def test_another_engines_vectors_are_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await EdgeGenerations(tmp_path).open(OLD)).close()
    monkeypatch.setattr(layout, "version", lambda _: "99.0")
    with pytest.raises(UnsafeCollectionError, match=r"qdrant-edge-py==0"):
        await EdgeGenerations(tmp_path).open(OLD)


async def test_a_manifest_of_before_terms_were_the_tenants_own_is_opened_as_it_was_written(
    tmp_path: Path,
) -> None:
    shared = replace(OLD, terms=TermSpace.shared)
    store = await EdgeGenerations(tmp_path).open(shared)
    chunks = [EmbeddedChunk(Chunk(0, "Returns within 30 days."), [1.0, 0.0, 0.0, 0.0])]
    await store.of(FJELLVIK).upsert(DocumentVersion("a", "v", "A"), chunks)
    await store.close()
    path = tmp_path / "0001" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest.pop("terms") == "shared"
    path.write_text(json.dumps(manifest))
    again = await EdgeGenerations(tmp_path).open(OLD)
    assert len(await again.of(FJELLVIK).search(HybridQuery("returns", []), limit=5)) == 1
    await again.close()
    # The control: as the tenant's own, the same words find nothing.
    path.write_text(json.dumps(manifest | {"terms": "own"}))
    wrong = await EdgeGenerations(tmp_path).open(OLD)
    assert await wrong.of(FJELLVIK).search(HybridQuery("returns", []), limit=5) == []
    await wrong.close()


@pytest.mark.parametrize("cut", ["none", "before_rename", "after_rename", "before_last"])
async def test_a_plain_shard_becomes_the_first_generation_even_after_a_kill(
    tmp_path: Path, cut: str
) -> None:
    folder, moving = tmp_path / "vectors", tmp_path / "vectors.adopting"
    store = EdgeVectorStore.open(folder, 4)
    await (
        Ingestor(store, InMemoryCatalog(), HashedEmbedder(4))
        .of(FJELLVIK)
        .ingest(Document("a", "A", "Returns within 30 days."))
    )
    await store.close()
    if cut != "none":
        (moving / "0001").mkdir(parents=True)
    if cut in ("after_rename", "before_last"):
        folder.rename(moving / "0001" / "shard")
    if cut == "before_last":
        (moving / "current").write_text("0001\n")
    adopted = await EdgeGenerations(folder).open(OLD)
    assert await adopted.of(FJELLVIK).count() == 1
    assert not moving.exists()
    await adopted.close()


async def test_what_a_kill_left_is_gone_on_with_or_dropped(tmp_path: Path) -> None:
    generations = EdgeGenerations(tmp_path)
    await (await generations.open(OLD)).close()
    await (await generations.fill(OPERATOR, NEW, resume=True)).close()
    marker = tmp_path / "0002" / "marker"
    marker.touch()
    again = EdgeGenerations(tmp_path)
    await (await again.open(OLD)).close()
    await (await again.fill(OPERATOR, NEW, resume=True)).close()
    assert marker.exists()
    await (await again.fill(OPERATOR, NEW, resume=False)).close()
    assert not marker.exists()
    shutil.rmtree(tmp_path / "0002" / "shard")  # half made
    (tmp_path / "0002" / "manifest.json").unlink()
    await (await again.fill(OPERATOR, NEW, resume=True)).close()


async def test_a_tenants_deletion_drops_what_was_left_unfinished(tmp_path: Path) -> None:
    generations = EdgeGenerations(tmp_path)
    await (await generations.open(OLD)).close()
    await (await generations.fill(OPERATOR, NEW, resume=True)).close()
    await EdgeGenerations(tmp_path).purge(OPERATOR, FJELLVIK.tenant_id)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0001", "current"]
