"""The shard's settings: how it is made, and what is checked of one that is there already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    VectorStorageDatatype,
)

from rag.errors import StoreError, StoreLockedError, UnsafeCollectionError
from rag.store import predicate
from rag.store.schema import (
    BM25,
    DENSE,
    FULL_SCAN_THRESHOLD,
    HNSW_EF_CONSTRUCT,
    HNSW_M,
    HNSW_PAYLOAD_M,
    INDEXED,
)

# Calls never overlap, and a search that hands its steps to several threads takes a quarter longer.
_SEARCH_THREADS = 1
_TERMS = {BM25: EdgeSparseVectorParams(modifier=Modifier.Idf)}
# What is not named stays as it was made; a configuration has to name something.
_AS_IT_IS = EdgeConfig(sparse_vectors=_TERMS, max_search_threads=_SEARCH_THREADS)


def open_shard(path: Path, dimension: int) -> EdgeShard:
    """The shard in `path`, made there if there is none.

    Raises:
        StoreLockedError: another process has it open.
        UnsafeCollectionError: its settings would leak, lose recall or lose writes.
        StoreError: it is broken.
    """
    if path.exists() and any(path.iterdir()):
        return _load(path, dimension)
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    shard = EdgeShard.create(str(path), _config(dimension))
    # Before any point: made after optimizing, recall is .011 and nothing says so.
    _index(shard, predicate.TENANT, KeywordIndexParams(is_tenant=True))
    for key in INDEXED:
        _index(shard, key, KeywordIndexParams())
    return shard


def _index(shard: EdgeShard, key: str, params: KeywordIndexParams) -> None:
    shard.update(UpdateOperation.create_field_index(key, params))


def _load(path: Path, dimension: int) -> EdgeShard:
    _check_config(path, dimension)
    try:
        shard = EdgeShard.load(str(path), _AS_IT_IS)
    except Exception as error:
        if "WouldBlock" not in str(error):
            raise StoreError(
                "The vector store cannot be opened; restore it or ingest anew."
            ) from None
        raise StoreLockedError(
            "Another process has the vector store open. Use the running gateway, or stop it."
        ) from None
    try:
        _check_indexes(shard)
    except UnsafeCollectionError:
        shard.close()
        raise
    return shard


def _check_indexes(shard: EdgeShard) -> None:
    schema = shard.info().payload_schema
    tenant = schema.get(predicate.TENANT)
    if not getattr(tenant and tenant.params, "is_tenant", False):
        raise UnsafeCollectionError("It has no tenant index, and would lose recall silently.")
    for key in INDEXED:
        if key not in schema:
            raise UnsafeCollectionError(f"It has no index of {key}.")


def _check_config(path: Path, dimension: int) -> None:
    """The engine takes what it finds on disk, whatever it is."""
    try:
        config: dict[str, Any] = json.loads((path / "edge_config.json").read_text())
        dense, hnsw = config["vectors"][DENSE], config["vectors"][DENSE]["hnsw_config"]
        modifier = config["sparse_vectors"][BM25].get("modifier")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UnsafeCollectionError("Its settings are not there, or are not ours.") from None
    if dense["size"] != dimension or dense["distance"] != "Cosine":
        raise UnsafeCollectionError(f"Its vectors are not of {dimension} numbers.")
    if (hnsw["m"], hnsw.get("payload_m")) != (HNSW_M, HNSW_PAYLOAD_M):
        raise UnsafeCollectionError("Its graph is not built for each tenant apart.")
    if str(modifier).lower() != "idf":
        raise UnsafeCollectionError("Its sparse vectors are not weighted by rarity.")
    if not config.get("wal_enabled", True):
        raise UnsafeCollectionError("It keeps no log of its writes, and would lose them.")


def _config(dimension: int) -> EdgeConfig:
    hnsw = HnswIndexConfig(
        m=HNSW_M,
        ef_construct=HNSW_EF_CONSTRUCT,
        full_scan_threshold=FULL_SCAN_THRESHOLD,
        payload_m=HNSW_PAYLOAD_M,
    )
    return EdgeConfig(
        vectors={
            DENSE: EdgeVectorParams(
                size=dimension,
                distance=Distance.Cosine,
                datatype=VectorStorageDatatype.Float16,
                hnsw_config=hnsw,
            )
        },
        sparse_vectors=_TERMS,
        hnsw_config=hnsw,
        max_search_threads=_SEARCH_THREADS,
        wal_enabled=True,
    )
