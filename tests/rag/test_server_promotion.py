"""A tenant moves to a shard of its own: what is asked of the server, and that it may be cut short.

The loopback server copies at once; that a transfer takes time, while the tenant is served, only a
cluster shows (BULKHEAD_TEST_QDRANT_CLUSTER_URL).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
from aiohttp import web

from isolation.errors import UnmintedContextError
from isolation.testing.contexts import operator_for_tests
from rag.errors import PlacementError, StoreError, StoreUnavailableError
from rag.store.server.connection import ServerAddress
from rag.store.server.promotion import TieredPlacement
from rag.store.server.store import ServerVectorStore
from rag.testing.merchants import BOTH, DIMENSION, FJELLVIK, VOLTBAY, plant, put, returns, texts
from tests.rag.loopback import faults
from tests.rag.loopback.predicates import holds
from tests.rag.loopback.server import Loopback, loopback

OPERATOR = operator_for_tests()
OWN, SHARED = "tenant:fjellvik", "shared:small"
COMMITTED = {"returns": "v1"}


@dataclass
class Tiers:
    server: Loopback
    store: ServerVectorStore

    async def promote(self) -> int:
        return await self.store.placement.promote(OPERATOR, FJELLVIK.tenant_id, COMMITTED)

    def points(self, shard: str) -> int:
        return self.server.collections["bulkhead"].count({"shard_key": shard})


@pytest.fixture
async def tiers() -> AsyncGenerator[Tiers, None]:
    async with loopback() as server:
        address = ServerAddress(server.url)
        store = await ServerVectorStore.open(address, DIMENSION, placement="tiered")
        await plant(store)
        yield Tiers(server, store)
        server.fault = server.after = None
        await store.close()


async def _is_promoted(tiers: Tiers) -> None:
    assert (tiers.points(OWN), tiers.points(SHARED)) == (1, 1)
    own = await tiers.store.placement.on_own_shards(OPERATOR)
    assert own == {FJELLVIK.tenant_id}
    for ctx in BOTH:
        assert await texts(tiers.store, ctx) == [returns(ctx)]


async def test_a_promoted_tenants_points_are_its_own_shards_and_nobody_elses_moved(
    tiers: Tiers,
) -> None:
    assert await tiers.store.placement.on_own_shards(OPERATOR) == frozenset()
    assert await tiers.promote() == 1
    await _is_promoted(tiers)
    await put(tiers.store, FJELLVIK, "returns", "Returns within 60 days", version="v2")
    assert await texts(tiers.store, FJELLVIK) == ["Returns within 60 days"]
    assert (tiers.points(OWN), tiers.points(SHARED)) == (1, 1)


async def test_the_copy_and_the_deletion_are_the_tenants_only(tiers: Tiers) -> None:
    await tiers.promote()
    made = tiers.server.sent("/shards")[-1]
    assert (made["shard_key"], made["initial_state"]) == (OWN, "Partial")
    (copy,) = [body["replicate_points"] for body in tiers.server.sent("/cluster") if body]
    assert (copy["from_shard_key"], copy["to_shard_key"]) == (SHARED, OWN)
    (deletion,) = tiers.server.sent("/points/delete")
    assert deletion["shard_key"] == SHARED
    assert holds(copy["filter"], "fjellvik")
    assert holds(deletion["filter"], "fjellvik")


@pytest.mark.parametrize("route", ["/shards", "/cluster", "/scroll", "/points/delete"])
@pytest.mark.parametrize("when", ["fault", "after"])
async def test_cut_short_anywhere_it_goes_on_when_it_is_run_again(
    tiers: Tiers, route: str, when: str
) -> None:
    async def fails(request: web.Request) -> web.StreamResponse | None:
        if request.method == "GET":
            return None
        return await faults.on(route, faults.status(503))(request)

    setattr(tiers.server, when, fails)
    with pytest.raises(StoreUnavailableError):
        await tiers.promote()
    tiers.server.fault = tiers.server.after = None
    for ctx in BOTH:
        assert await texts(tiers.store, ctx) == [returns(ctx)]
    for _ in range(2):
        await tiers.promote()
    await _is_promoted(tiers)


async def test_nothing_leaves_the_shared_shard_that_the_own_one_lacks(tiers: Tiers) -> None:
    """A server that switches over before the copy is whole."""
    collection = tiers.server.collections["bulkhead"]
    collection.add_shard(OWN)
    with pytest.raises(StoreError, match="nothing was deleted"):
        await tiers.promote()
    assert tiers.points(SHARED) == 2


async def test_what_was_deleted_after_the_switch_does_not_stand_in_the_way(tiers: Tiers) -> None:
    tiers.server.fault = faults.on("/points/delete", faults.status(503))
    with pytest.raises(StoreUnavailableError):
        await tiers.promote()
    tiers.server.fault = None
    await tiers.store.of(FJELLVIK).delete("returns")
    await tiers.store.placement.promote(OPERATOR, FJELLVIK.tenant_id, {})
    assert (tiers.points(OWN), tiers.points(SHARED)) == (0, 1)
    assert await texts(tiers.store, FJELLVIK) == []


async def test_a_transfer_that_does_not_end_is_left_and_told(tiers: Tiers) -> None:
    async def nothing(request: web.Request) -> web.StreamResponse | None:
        if request.method == "GET":
            return None
        return web.json_response({"result": True, "status": "ok", "time": 0.1})

    tiers.server.fault = faults.on("/cluster", nothing)
    placement = TieredPlacement(tiers.store._shared, patience=0.0)
    with pytest.raises(StoreUnavailableError):
        await placement.promote(OPERATOR, FJELLVIK.tenant_id, COMMITTED)
    assert await texts(tiers.store, FJELLVIK) == [returns(FJELLVIK)]


async def test_a_deleted_tenants_shard_goes_with_it_and_both_shards_are_emptied(
    tiers: Tiers,
) -> None:
    tiers.server.fault = faults.on("/points/delete", faults.status(503))
    with pytest.raises(StoreUnavailableError):
        await tiers.promote()  # its points are on both shards now
    tiers.server.fault = None
    await tiers.store.purge(OPERATOR, FJELLVIK.tenant_id)
    assert OWN not in tiers.server.collections["bulkhead"].shards
    assert tiers.points(SHARED) == 1
    assert await texts(tiers.store, VOLTBAY) == [returns(VOLTBAY)]


async def test_without_tiers_nobody_is_promoted_and_tenants_promote_nobody(tiers: Tiers) -> None:
    async with loopback() as server:
        store = await ServerVectorStore.open(ServerAddress(server.url), DIMENSION)
        with pytest.raises(PlacementError, match="tiered"):
            await store.placement.promote(OPERATOR, FJELLVIK.tenant_id, {})
        await store.close()
    with pytest.raises(UnmintedContextError):
        await tiers.store.placement.promote(FJELLVIK, FJELLVIK.tenant_id, {})  # type: ignore[arg-type]


_CLUSTER = os.environ.get("BULKHEAD_TEST_QDRANT_CLUSTER_URL")


@pytest.mark.skipif(
    _CLUSTER is None, reason="no Qdrant cluster here: set BULKHEAD_TEST_QDRANT_CLUSTER_URL to one"
)
async def test_a_cluster_promotes_while_the_tenant_is_served() -> None:
    name = f"test-{uuid.uuid4().hex}"
    address = ServerAddress(str(_CLUSTER), os.environ.get("BULKHEAD_TEST_QDRANT_API_KEY"))
    store = await ServerVectorStore.open(address, DIMENSION, collection=name, placement="tiered")
    try:
        await plant(store)
        for _ in range(2):
            await store.placement.promote(OPERATOR, FJELLVIK.tenant_id, COMMITTED)
        assert await store.placement.on_own_shards(OPERATOR) == {FJELLVIK.tenant_id}
        for ctx in BOTH:
            assert await texts(store, ctx) == [returns(ctx)]
    finally:
        await store._shared.connection.client.delete_collection(name)
        await store.close()
