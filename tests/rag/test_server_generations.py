"""Generations on a Qdrant server: what is asked of it, and what was there before there were any."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from aiohttp import web

from isolation.testing.contexts import operator_for_tests
from rag.errors import StoreError, UnsafeCollectionError
from rag.store.generations import MadeWith
from rag.store.server.connection import ServerAddress
from rag.store.server.generations import ServerGenerations
from rag.store.server.placement import Placement
from rag.store.server.store import ServerVectorStore
from rag.testing.merchants import BOTH, DIMENSION, FJELLVIK, plant, returns, texts
from tests.rag.loopback import faults
from tests.rag.loopback.server import Loopback, loopback

OPERATOR = operator_for_tests()
OLD, NEW = MadeWith("old", DIMENSION, "a"), MadeWith("new", DIMENSION, "b")


@pytest.fixture
async def server() -> AsyncGenerator[Loopback, None]:
    async with loopback() as server:
        yield server


def _generations(server: Loopback, placement: Placement = "shared") -> ServerGenerations:
    return ServerGenerations(ServerAddress(server.url), placement=placement)


async def _before(server: Loopback, placement: Placement = "shared") -> None:
    """A collection of an earlier version: no manifest, and no alias."""
    address = ServerAddress(server.url)
    store = await ServerVectorStore.open(address, DIMENSION, placement=placement)
    await plant(store)
    await store.close()


async def test_a_collection_without_alias_or_manifest_goes_on_and_then_says_its_model(
    server: Loopback,
) -> None:
    await _before(server)
    store = await _generations(server).open(OLD)
    for ctx in BOTH:
        assert await texts(store, ctx) == [returns(ctx)]
    await store.close()
    assert list(server.collections) == ["bulkhead"]
    assert server.aliases == {}
    with pytest.raises(UnsafeCollectionError, match="bulkhead reembed"):
        await _generations(server).open(NEW)


async def test_a_key_that_may_not_change_collections_opens_them_all_the_same(
    server: Loopback,
) -> None:
    await _before(server)

    async def forbidden(request: web.Request) -> web.StreamResponse | None:
        return await faults.status(403)(request) if request.method == "PATCH" else None

    server.fault = forbidden
    store = await _generations(server).open(OLD)
    assert await texts(store, FJELLVIK) == [returns(FJELLVIK)]
    await store.close()
    server.fault = None


async def test_the_alias_moves_in_one_request_and_always_names_a_collection(
    server: Loopback,
) -> None:
    await (generations := _generations(server)).open(OLD)
    for made, name in ((NEW, "bulkhead-0002"), (OLD, "bulkhead-0003")):
        await (await generations.fill(OPERATOR, made, resume=True)).close()
        sent = len(server.sent("/collections/aliases"))
        await generations.switch(OPERATOR)
        (request,) = server.sent("/collections/aliases")[sent:]
        assert [next(iter(action)) for action in request["actions"]] == [
            "delete_alias",
            "create_alias",
        ]
        assert server.aliases == {"bulkhead-current": name}
        await generations.drop_others(OPERATOR)
        assert list(server.collections) == [name]


async def test_the_new_collection_is_made_and_checked_as_the_first_one(server: Loopback) -> None:
    generations = _generations(server)
    await (await generations.open(OLD)).close()
    await (await generations.fill(OPERATOR, NEW, resume=True)).close()
    first, second = (server.collections[name] for name in ("bulkhead", "bulkhead-0002"))
    assert second.schema == first.schema
    assert second.body["strict_mode_config"] == first.body["strict_mode_config"]
    second.body["strict_mode_config"] = None
    with pytest.raises(UnsafeCollectionError, match="strict mode"):
        await _generations(server).fill(OPERATOR, NEW, resume=True)


async def test_who_has_a_shard_of_its_own_has_one_in_the_new_collection(server: Loopback) -> None:
    await _before(server, "tiered")
    generations = _generations(server, "tiered")
    store = await generations.open(OLD)
    await store.placement.promote(OPERATOR, FJELLVIK.tenant_id, {"returns": "v1"})
    for _ in range(2):  # resumed, it is there already
        new = await generations.fill(OPERATOR, NEW, resume=True)
        assert await new.placement.on_own_shards(OPERATOR) == {FJELLVIK.tenant_id}
        await plant(new)
        there = server.collections["bulkhead-0002"]
        assert there.count({"shard_key": "tenant:fjellvik"}) == 1
        assert there.count({"shard_key": "shared:small"}) == 1
        await new.close()
    await store.close()


async def test_nobody_elses_collection_is_dropped_or_filled(server: Loopback) -> None:
    other = ServerGenerations(ServerAddress(server.url), "bulkhead-0007")
    theirs = await other.open(OLD)
    address = ServerAddress(server.url)
    unknown = await ServerVectorStore.open(address, DIMENSION, collection="bulkhead-0009")
    generations = _generations(server)
    await (await generations.open(OLD)).close()
    await (await generations.fill(OPERATOR, NEW, resume=True)).close()
    await generations.switch(OPERATOR)
    await generations.drop_others(OPERATOR)
    assert sorted(server.collections) == ["bulkhead-0002", "bulkhead-0007", "bulkhead-0009"]
    await theirs.close()
    await unknown.close()


async def test_a_deletion_reaches_every_generation_and_fails_where_one_cannot_be_asked(
    server: Loopback,
) -> None:
    generations = _generations(server)
    old = await generations.open(OLD)
    new = await generations.fill(OPERATOR, NEW, resume=True)
    for store in (old, new):
        await plant(store)
    server.fault = faults.on("/bulkhead-0002/points/delete", faults.status(503))
    with pytest.raises(StoreError):
        await _generations(server).purge(OPERATOR, FJELLVIK.tenant_id)
    server.fault = None
    await _generations(server).purge(OPERATOR, FJELLVIK.tenant_id)
    for store in (old, new):
        assert [await store.of(ctx).count() for ctx in BOTH] == [0, 1]
        await store.close()


async def test_what_is_left_of_an_ended_move_is_found_and_dropped(server: Loopback) -> None:
    generations = _generations(server)
    await (await generations.open(OLD)).close()
    assert not await generations.has_older()
    await (await generations.fill(OPERATOR, NEW, resume=True)).close()
    assert not await generations.has_older()  # what is being filled is no such thing
    await generations.switch(OPERATOR)
    after = _generations(server)
    assert await after.has_older()
    await after.drop_older(OPERATOR)
    assert list(server.collections) == ["bulkhead-0002"]
    await (await after.open(NEW)).close()
