"""What is checked of a shard that is there already: one that leaks or loses recall is silent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    HnswIndexConfig,
    KeywordIndexParams,
    Modifier,
    UpdateOperation,
)

from rag.errors import UnsafeCollectionError
from rag.store.edge.store import EdgeVectorStore
from rag.testing.merchants import DIMENSION, FJELLVIK, VOLTBAY, plant, returns, texts

_INDEXES = {"tenant_id": True, "document_id": False, "state": False, "access": False}


def _made(
    path: Path,
    *,
    m: int = 0,
    payload_m: int | None = 16,
    modifier: Modifier | None = Modifier.Idf,
    wal: bool = True,
    indexes: dict[str, bool] | None = None,
) -> Path:
    """A shard by hand, ours but for what is named."""
    hnsw = HnswIndexConfig(m=m, ef_construct=100, full_scan_threshold=10_000, payload_m=payload_m)
    dense = EdgeVectorParams(size=4, distance=Distance.Cosine, hnsw_config=hnsw)
    sparse = {"bm25": EdgeSparseVectorParams(modifier=modifier)}
    config = EdgeConfig({"dense": dense}, sparse, hnsw_config=hnsw, wal_enabled=wal)
    path.mkdir()
    shard = EdgeShard.create(str(path), config)
    for key, is_tenant in (_INDEXES if indexes is None else indexes).items():
        params = KeywordIndexParams(is_tenant=is_tenant)
        shard.update(UpdateOperation.create_field_index(key, params))
    shard.close()
    return path


async def test_a_shard_like_ours_is_opened(tmp_path: Path) -> None:
    """The control: what is refused below is refused for what it names."""
    await EdgeVectorStore.open(_made(tmp_path / "edge"), 4).close()


async def test_a_shard_of_before_keeps_its_numbers_and_answers(tmp_path: Path) -> None:
    """Of single precision (decision 29)."""
    config = _made(tmp_path / "edge") / "edge_config.json"
    assert "max_search_threads" not in json.loads(config.read_text())
    store = EdgeVectorStore.open(tmp_path / "edge", DIMENSION)
    await plant(store)
    for merchant in (FJELLVIK, VOLTBAY):
        assert await texts(store, merchant) == [returns(merchant)]
    await store.close()
    written = json.loads(config.read_text())
    assert written["vectors"]["dense"].get("datatype") in (None, "float32")
    # Set at each open, on one that was made without it (decision 31).
    assert written["max_search_threads"] == 1


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"m": 16}, "each tenant"),
        ({"payload_m": None}, "each tenant"),
        ({"modifier": None}, "rarity"),
        ({"wal": False}, "log of its writes"),
        ({"indexes": {}}, "tenant index"),
        ({"indexes": _INDEXES | {"tenant_id": False}}, "tenant index"),
        ({"indexes": {"tenant_id": True}}, "no index of"),
    ],
)
def test_settings_that_leak_or_lose_are_refused(
    tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    path = _made(tmp_path / "edge", **settings)
    for _ in range(2):  # and the lock is given back: the second time says the same
        with pytest.raises(UnsafeCollectionError, match=reason):
            EdgeVectorStore.open(path, 4)


def test_vectors_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeCollectionError, match="8 numbers"):
        EdgeVectorStore.open(_made(tmp_path / "edge"), 8)


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"vectors": {"dense": None}})])
def test_a_shard_without_its_settings_is_refused(tmp_path: Path, content: str) -> None:
    path = _made(tmp_path / "edge")
    (path / "edge_config.json").write_text(content)
    with pytest.raises(UnsafeCollectionError, match="not there"):
        EdgeVectorStore.open(path, 4)
