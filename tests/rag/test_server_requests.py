"""What the adapter really sends: the tenant's predicate is in every request that touches points.

The loopback server keeps what `qdrant-client` sent; every filter of every body is walked.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from qdrant_client import models
from qdrant_client.conversions.conversion import RestToGrpc

from isolation.access import restricted_to
from isolation.tenant_id import TenantId
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.filters import AnyOf, Equals, Not
from rag.store import predicate
from rag.store.conditions import Every, Some, TextIs
from rag.store.server.connection import ServerAddress
from rag.store.server.placement import Placement, Routing
from rag.store.server.rendering import rendered
from rag.store.server.shared import SharedCollection, _deletion
from rag.store.server.store import ServerVectorStore
from rag.testing.merchants import DIMENSION, FJELLVIK, QUESTION, everything_seen, found, put
from rag.testing.twins import Place
from tests.rag.loopback.predicates import holds, unscoped
from tests.rag.loopback.server import Loopback, loopback
from tests.rag.test_server_store import BreakableServer

_SECRET = "the-servers-own-key"
_ROUTES = {
    "points",
    "points/batch",
    "points/count",
    "points/delete",
    "points/query",
    "points/scroll",
}
_REACHING = AnyOf((Equals("tenant_id", "voltbay"), Not(Equals("lang", "en"))))


@pytest.fixture
async def server() -> AsyncGenerator[Loopback, None]:
    async with loopback() as server:
        yield server


async def _opened(server: Loopback, placement: Placement = "shared") -> ServerVectorStore:
    address = ServerAddress(server.url, api_key=_SECRET)
    return await ServerVectorStore.open(address, DIMENSION, placement=placement)


async def _use_all(store: ServerVectorStore) -> None:
    """Everything that a store does, of one tenant."""
    await put(store, FJELLVIK, "returns", "Returns within 30 days", "and more")
    await everything_seen(store, FJELLVIK)
    await found(store, FJELLVIK, where=_REACHING)
    restricted = tenant_for_tests("fjellvik", access=restricted_to(["vip"]))
    await everything_seen(store, restricted)
    await store.settle(operator_for_tests(), FJELLVIK.tenant_id, "returns", "v1")
    await store.of(FJELLVIK).delete("returns")
    await store.purge(operator_for_tests(), FJELLVIK.tenant_id)


@pytest.mark.parametrize("placement", ["shared", "tiered"])
async def test_the_tenants_predicate_stands_in_every_request(
    server: Loopback, placement: Placement
) -> None:
    store = await _opened(server, placement)
    await _use_all(store)
    await store.close()
    touched = {one.path.split("/", 3)[-1] for one in server.seen if "/points" in one.path}
    assert touched == _ROUTES  # the control: all routes were seen
    assert unscoped(server.seen, "fjellvik") == []
    assert unscoped(server.seen, "voltbay")  # the control: another name is not found


async def test_every_write_waits_and_names_its_shard(server: Loopback) -> None:
    store = await _opened(server, "tiered")
    await _use_all(store)
    await store.close()
    writes = [one for one in server.seen if one.path.endswith(("/points", "/batch", "/delete"))]
    assert {one.query.get("wait") for one in writes} == {"true"}
    route = {"target": "tenant:fjellvik", "fallback": "shared:small"}
    for body in server.sent("/points") + server.sent("/query") + server.sent("/scroll"):
        assert body["shard_key"] == route
    for body in server.sent("/batch"):
        keys = [one["shard_key"] for part in body["operations"] for one in part.values()]
        assert keys == [route] * len(keys)


@pytest.mark.parametrize(
    ("forgotten", "place"),
    [
        ("dense", "dense.filter"),
        ("sparse", "bm25.filter"),
        ("corpus", "bm25.corpus"),
        ("root", "filter"),
    ],
)
async def test_one_forgotten_filter_is_caught(
    server: Loopback, monkeypatch: pytest.MonkeyPatch, forgotten: Place, place: str
) -> None:
    """Each alone: the engine would forgive it, or show it in no result."""
    store = await _opened(server)
    BreakableServer(monkeypatch).forget(forgotten)
    await found(store, FJELLVIK)
    await store.close()
    assert unscoped(server.seen, "fjellvik") == [f"points/query {place}"]


@pytest.mark.parametrize(
    ("function", "place"),
    [
        ("visible_to", "points/query filter"),
        ("documents_of", "points/scroll filter"),
        ("everything_of", "points update_filter"),
        ("version_of", "points/batch set_payload.filter"),
        ("replaced_by", "points/batch delete.filter"),
        ("versions_of", "points/batch delete.filter"),
    ],
)
async def test_a_predicate_without_the_tenant_is_caught(
    server: Loopback, monkeypatch: pytest.MonkeyPatch, function: str, place: str
) -> None:
    honest = getattr(predicate, function)

    def forgetful(*asked: Any, **more: Any) -> Every:
        return Every(honest(*asked, **more).parts[1:])

    monkeypatch.setattr(predicate, function, forgetful)
    # The engine behind would leak, and the adapter's last check would say so: here only the wire.
    monkeypatch.setattr("rag.store.payload.require_same_tenant", lambda *_: None)
    store = await _opened(server)
    await put(store, FJELLVIK, "returns", "Returns within 30 days")
    await store.of(FJELLVIK).search(QUESTION, limit=5)
    await store.of(FJELLVIK).list()
    await store.of(FJELLVIK).delete("returns")
    await store.close()
    assert place in unscoped(server.seen, "fjellvik")


async def test_what_is_deleted_before_it_is_counted_is_no_ones_else(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A re-embedding writes what its tenant deletes at that moment."""
    store = await _opened(server)
    mine, counted = store.of(FJELLVIK), SharedCollection.count

    async def count(shared: SharedCollection, asked: Every, tenant: TenantId) -> int:
        await mine.delete("returns")
        return await counted(shared, asked, tenant)

    monkeypatch.setattr(SharedCollection, "count", count)
    await put(store, FJELLVIK, "returns", "Returns within 30 days")
    assert len(server.sent("/points/count")) == 2  # the control: it was missed, and asked about
    await store.close()


def test_a_tenant_named_in_an_alternative_is_no_predicate() -> None:
    """The walk itself: what only may hold does not count."""
    own = predicate.everything_of(FJELLVIK.tenant_id)
    alternative = Every((Some((own, TextIs("lang", "en"))),))
    assert holds(rendered(own).model_dump(), "fjellvik")
    assert holds(rendered(Every((own,))).model_dump(), "fjellvik")
    assert not holds(rendered(alternative).model_dump(), "fjellvik")
    assert not holds({"must_not": rendered(own).model_dump()["must"]}, "fjellvik")
    assert not holds({"must": []}, "fjellvik")
    assert not holds(None, "fjellvik")


async def test_the_key_goes_to_the_server_and_into_no_log(
    server: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = await _opened(server)
    await _use_all(store)
    await store.close()
    assert {one.headers.get("api-key") for one in server.seen} == {_SECRET}
    assert _SECRET not in caplog.text
    assert "30 days" not in caplog.text
    assert _SECRET not in repr(ServerAddress(server.url, api_key=_SECRET))


def test_grpc_carries_the_same_predicates() -> None:
    """No loopback for gRPC: but what the client would send is made here by its own conversion."""
    mine = rendered(predicate.visible_to(FJELLVIK))
    leg = models.Prefetch(
        query=models.SparseVector(indices=[1], values=[1.0]),
        using="bm25",
        filter=mine,
        limit=30,
        params=models.SearchParams(idf=models.IdfCorpusParams(corpus=mine)),
    )
    sent = RestToGrpc.convert_prefetch_query(leg)
    for condition in (sent.filter, sent.params.idf.corpus):
        tenant = condition.must[0].field
        assert (tenant.key, tenant.match.keyword) == ("tenant_id", "fjellvik")
    route = Routing("tiered").of(FJELLVIK.tenant_id)
    assert route is not None
    selector = RestToGrpc.convert_shard_key_selector(route)
    assert selector.shard_keys[0].keyword == "tenant:fjellvik"
    assert selector.fallback.keyword == "shared:small"
    deletion = _deletion(predicate.everything_of(FJELLVIK.tenant_id), route)
    operation = RestToGrpc.convert_update_operation(deletion)
    assert operation.delete_points.points.filter.must[0].field.match.keyword == "fjellvik"
    assert operation.delete_points.shard_key_selector.fallback.keyword == "shared:small"
