"""The collection's settings on a server: how it is made, and what is checked of one there is."""

from __future__ import annotations

import re
from collections.abc import Mapping

from qdrant_client import models

from rag.errors import StoreError, UnsafeCollectionError
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
from rag.store.server.connection import MANAGE_SECONDS, Connection
from rag.store.server.placement import SMALL_TENANTS, Placement, Routing

# Before it, a corpus for term statistics was ignored silently, and so was the tenant's.
NEEDED_VERSION = (1, 19)
# No request asks for more points at once; a page of a listing is smaller.
MOST_POINTS = 1_000
# `version` too: writes filter by it, and strict mode refuses them without an index.
_KEYWORDS = (*INDEXED, predicate.VERSION)


async def open_collection(
    connection: Connection,
    name: str,
    dimension: int,
    placement: Placement,
    metadata: Mapping[str, object] | None = None,
) -> Routing:
    """Check the collection called `name`, or make it, with `metadata`, if there is none.

    Raises:
        UnsafeCollectionError: it would leak, or lose recall silently; or the server would.
        StoreUnavailableError: the server does not answer.
    """
    await _check_version(connection)
    client = connection.client
    if not await connection.read(lambda: client.collection_exists(name)):
        await _create(connection, name, dimension, placement, metadata)
    info = await connection.read(lambda: client.get_collection(name))
    _check_placement(info, placement)
    if info.points_count == 0:
        # New, or another gateway is making it, or was killed when it did.
        await _complete(connection, name, placement)
        info = await connection.read(lambda: client.get_collection(name))
    _check_vectors(info, dimension)
    _check_indexes(info)
    _check_strict_mode(info)
    if placement == "tiered":
        await _check_shared_shard(connection, name)
    return Routing(placement)


async def _check_version(connection: Connection) -> None:
    text = (await connection.read(connection.client.info)).version
    found = re.match(r"(\d+)\.(\d+)", text)
    if found is None or (int(found[1]), int(found[2])) < NEEDED_VERSION:
        needed = ".".join(map(str, NEEDED_VERSION))
        raise UnsafeCollectionError(
            f"The Qdrant server is older than {needed}: it would weigh words by all tenants' "
            "documents. Upgrade it."
        )


async def _create(
    connection: Connection,
    name: str,
    dimension: int,
    placement: Placement,
    metadata: Mapping[str, object] | None,
) -> None:
    client, tiered = connection.client, placement == "tiered"
    try:
        await connection.manage(
            lambda: client.create_collection(
                name,
                vectors_config={DENSE: _vectors(dimension)},
                sparse_vectors_config={
                    BM25: models.SparseVectorParams(modifier=models.Modifier.IDF)
                },
                hnsw_config=_hnsw(),
                shard_number=1,
                sharding_method=models.ShardingMethod.CUSTOM if tiered else None,
                strict_mode_config=_strict_mode(),
                metadata=None if metadata is None else dict(metadata),
                timeout=MANAGE_SECONDS,
            )
        )
    except StoreError:
        # Another gateway may have made it meanwhile. What it made is checked like any other.
        if not await connection.read(lambda: client.collection_exists(name)):
            raise


async def _complete(connection: Connection, name: str, placement: Placement) -> None:
    if placement == "tiered":
        await _create_shared_shard(connection, name)
    # Before any point: made after optimizing, recall is .011 and nothing says so.
    tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    plain = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD)
    for field, params in ((predicate.TENANT, tenant), *((key, plain) for key in _KEYWORDS)):
        await _index(connection, name, field, params)


async def _index(
    connection: Connection, name: str, field: str, params: models.KeywordIndexParams
) -> None:
    await connection.manage(
        lambda: connection.client.create_payload_index(
            name, field, params, wait=True, timeout=MANAGE_SECONDS
        )
    )


async def _create_shared_shard(connection: Connection, name: str) -> None:
    client = connection.client
    answer = await connection.read(lambda: client.list_shard_keys(name))
    if SMALL_TENANTS in [one.key for one in answer.shard_keys or []]:
        return
    try:
        await connection.manage(
            lambda: client.create_shard_key(
                name, SMALL_TENANTS, shards_number=1, timeout=MANAGE_SECONDS
            )
        )
    except StoreError:
        await _check_shared_shard(connection, name)


async def _check_shared_shard(connection: Connection, name: str) -> None:
    answer = await connection.read(lambda: connection.client.list_shard_keys(name))
    if SMALL_TENANTS not in [one.key for one in answer.shard_keys or []]:
        raise UnsafeCollectionError(f"It has no shard {SMALL_TENANTS!r} for small tenants.")


def _check_vectors(info: models.CollectionInfo, dimension: int) -> None:
    vectors = info.config.params.vectors
    dense = vectors.get(DENSE) if isinstance(vectors, dict) else None
    sparse = (info.config.params.sparse_vectors or {}).get(BM25)
    if dense is None or sparse is None:
        raise UnsafeCollectionError("Its settings are not ours: choose another collection's name.")
    if dense.size != dimension or dense.distance != models.Distance.COSINE:
        raise UnsafeCollectionError(f"Its vectors are not of {dimension} numbers.")
    if sparse.modifier != models.Modifier.IDF:
        raise UnsafeCollectionError("Its sparse vectors are not weighted by rarity.")
    whole, own = info.config.hnsw_config, dense.hnsw_config
    m = own.m if own is not None and own.m is not None else whole.m
    payload_m = own.payload_m if own is not None and own.payload_m is not None else whole.payload_m
    if (m, payload_m) != (HNSW_M, HNSW_PAYLOAD_M):
        raise UnsafeCollectionError("Its graph is not built for each tenant apart.")


def _check_indexes(info: models.CollectionInfo) -> None:
    tenant = info.payload_schema.get(predicate.TENANT)
    if not getattr(tenant and tenant.params, "is_tenant", False):
        raise UnsafeCollectionError("It has no tenant index, and would lose recall silently.")
    for key in _KEYWORDS:
        if key not in info.payload_schema:
            raise UnsafeCollectionError(f"It has no index of {key}.")


def _check_strict_mode(info: models.CollectionInfo) -> None:
    strict, wanted = info.config.strict_mode_config, _strict_mode()
    for field in ("enabled", "search_allow_exact", "unindexed_filtering_update"):
        if getattr(strict, field, None) != getattr(wanted, field):
            raise UnsafeCollectionError(
                f"Its strict mode does not set {field} to {str(getattr(wanted, field)).lower()}."
            )


def _check_placement(info: models.CollectionInfo, placement: Placement) -> None:
    params = info.config.params
    tiered = params.sharding_method == models.ShardingMethod.CUSTOM
    if tiered != (placement == "tiered"):
        raise UnsafeCollectionError(
            "Its shards are not placed as BULKHEAD_QDRANT_PLACEMENT says: it cannot be changed."
        )
    if params.shard_number != 1:
        raise UnsafeCollectionError(
            "A tenant's points lie on several shards, which weigh words each for itself."
        )


def _vectors(dimension: int) -> models.VectorParams:
    return models.VectorParams(
        size=dimension,
        distance=models.Distance.COSINE,
        datatype=models.Datatype.FLOAT16,
        hnsw_config=_hnsw(),
    )


def _hnsw() -> models.HnswConfigDiff:
    return models.HnswConfigDiff(
        m=HNSW_M,
        payload_m=HNSW_PAYLOAD_M,
        ef_construct=HNSW_EF_CONSTRUCT,
        full_scan_threshold=FULL_SCAN_THRESHOLD,
    )


def _strict_mode() -> models.StrictModeConfig:
    """The server's own second line (docs/decisions/0008)."""
    return models.StrictModeConfig(
        enabled=True,
        # With no graph of all points, a dense query without the tenant's filter is refused.
        search_allow_exact=False,
        unindexed_filtering_update=False,
        # Callers' filters name fields of their own, beside the tenant's index.
        unindexed_filtering_retrieve=True,
        max_query_limit=MOST_POINTS,
    )
