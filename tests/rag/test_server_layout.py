"""What is checked of a collection on a server, and how it is made."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from rag.errors import UnsafeCollectionError
from rag.store.server.connection import ServerAddress
from rag.store.server.placement import Placement
from rag.store.server.store import ServerVectorStore
from rag.store.server.token import collection_token
from rag.testing.merchants import DIMENSION, plant
from tests.rag.loopback.server import Loopback, loopback


@pytest.fixture
async def server() -> AsyncGenerator[Loopback, None]:
    async with loopback() as server:
        await _open(server)
        await _use(server)
        yield server


async def _use(server: Loopback) -> None:
    store = await ServerVectorStore.open(ServerAddress(server.url), DIMENSION)
    await plant(store)
    await store.close()


async def _open(
    server: Loopback, dimension: int = DIMENSION, placement: Placement = "shared"
) -> None:
    address = ServerAddress(server.url)
    await (await ServerVectorStore.open(address, dimension, placement=placement)).close()


def _set(body: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        body = body[name]
    body[last] = value


async def test_what_was_made_is_opened_again_and_made_but_once(server: Loopback) -> None:
    """The control: what is refused below is refused for what it names."""
    await _open(server)
    assert [one.method for one in server.seen if one.path == "/collections/bulkhead"].count(
        "PUT"
    ) == 1


async def test_the_tenants_index_is_there_before_any_point(server: Loopback) -> None:
    first = server.sent("/index")[0]
    assert first["field_name"] == "tenant_id"
    assert first["field_schema"]["is_tenant"] is True


async def test_what_a_kill_left_half_made_is_made_whole_while_it_is_empty() -> None:
    async with loopback() as server:
        await _open(server)
        server.collections["bulkhead"].schema.clear()
        await _open(server)
        assert "tenant_id" in server.collections["bulkhead"].schema


async def test_two_gateways_that_make_it_at_once_both_open_it() -> None:
    async with loopback() as server:
        await asyncio.gather(_open(server), _open(server))
        assert list(server.collections) == ["bulkhead"]


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("vectors.dense.hnsw_config.m", 16, "each tenant apart"),
        ("vectors.dense.hnsw_config.payload_m", 0, "each tenant apart"),
        ("vectors.dense.distance", "Dot", "numbers"),
        ("sparse_vectors.bm25.modifier", None, "rarity"),
        ("vectors", {"size": 4, "distance": "Cosine"}, "not ours"),
        ("sparse_vectors", {}, "not ours"),
        ("strict_mode_config.enabled", False, "strict mode"),
        ("strict_mode_config.search_allow_exact", True, "strict mode"),
        ("strict_mode_config", None, "strict mode"),
        ("shard_number", 3, "several shards"),
        ("sharding_method", "custom", "placed"),
    ],
)
async def test_settings_that_leak_or_lose_are_refused(
    server: Loopback, path: str, value: Any, reason: str
) -> None:
    _set(server.collections["bulkhead"].body, path, value)
    with pytest.raises(UnsafeCollectionError, match=reason):
        await _open(server)


@pytest.mark.parametrize(
    ("field", "schema", "reason"),
    [
        ("tenant_id", None, "tenant index"),
        ("tenant_id", {"type": "keyword", "is_tenant": False}, "tenant index"),
        ("version", None, "no index of version"),
    ],
)
async def test_a_missing_index_is_refused(
    server: Loopback, field: str, schema: Any, reason: str
) -> None:
    server.collections["bulkhead"].schema.pop(field)
    if schema is not None:
        server.collections["bulkhead"].schema[field] = schema
    with pytest.raises(UnsafeCollectionError, match=reason):
        await _open(server)


async def test_vectors_of_another_model_are_refused(server: Loopback) -> None:
    with pytest.raises(UnsafeCollectionError, match="8 numbers"):
        await _open(server, 8)


async def test_a_placement_is_not_changed_by_a_setting(server: Loopback) -> None:
    with pytest.raises(UnsafeCollectionError, match="QDRANT_PLACEMENT"):
        await _open(server, placement="tiered")


async def test_a_tiered_collection_needs_its_shared_shard() -> None:
    async with loopback() as server:
        address = ServerAddress(server.url)
        store = await ServerVectorStore.open(address, DIMENSION, placement="tiered")
        server.collections["bulkhead"].add_shard("tenant:fjellvik")
        await plant(store)
        await store.close()
        server.collections["bulkhead"].drop_shard("shared:small")
        with pytest.raises(UnsafeCollectionError, match="shared:small"):
            await _open(server, placement="tiered")


def test_a_token_opens_one_collection_for_a_time_and_is_signed_with_the_servers_key() -> None:
    header, claims, signature = collection_token("key", "bulkhead", 60).split(".")
    body = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert body["access"] == [{"collection": "bulkhead", "access": "rw"}]
    assert 0 < body["exp"] - time.time() <= 60
    right = hmac.new(b"key", f"{header}.{claims}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=") == right
