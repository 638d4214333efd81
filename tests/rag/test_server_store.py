"""The store contract on the Qdrant server's adapter: over the loopback server, and on a real server
when BULKHEAD_TEST_QDRANT_URL names one."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, models

from isolation.tenant_id import TenantId
from rag.errors import StoreError
from rag.store.port import VectorStore
from rag.store.schema import DENSE
from rag.store.server import collection, hybrid
from rag.store.server.connection import ServerAddress
from rag.store.server.placement import Placement
from rag.store.server.store import ServerVectorStore
from rag.testing.merchants import DIMENSION
from rag.testing.stores import StoreContract
from rag.testing.twins import CAUGHT, Place, ids_of
from tests.rag.loopback.server import loopback

_REAL_URL = os.environ.get("BULKHEAD_TEST_QDRANT_URL")
_REAL_KEY = os.environ.get("BULKHEAD_TEST_QDRANT_API_KEY")


class _Models:
    """`qdrant_client.models`, with two of its classes forgetful."""

    def __init__(self, places: tuple[Place, ...]) -> None:
        self._places = places

    def __getattr__(self, name: str) -> Any:
        return getattr(models, name)

    def Prefetch(self, **asked: Any) -> models.Prefetch:
        place = "dense" if asked["using"] == DENSE else "sparse"
        return models.Prefetch(**asked | ({"filter": None} if place in self._places else {}))

    def SearchParams(self, **asked: Any) -> models.SearchParams:
        return models.SearchParams() if "corpus" in self._places else models.SearchParams(**asked)


class BreakableServer:
    """How the adapter is broken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch

    def forget(self, *places: Place) -> None:
        self._patch.setattr(hybrid, "models", _Models(places))
        if "root" in places:
            honest = AsyncQdrantClient.query_points

            async def query(self: Any, name: str, **asked: Any) -> Any:
                return await honest(self, name, **asked | {"query_filter": None})

            self._patch.setattr(AsyncQdrantClient, "query_points", query)

    def share_ids(self, owner: TenantId) -> None:
        self._patch.setattr(collection, "point_id", ids_of(owner))


class _OnAServer(StoreContract):
    @pytest.fixture
    def breakable(self, monkeypatch: pytest.MonkeyPatch) -> BreakableServer:
        return BreakableServer(monkeypatch)


@pytest.mark.parametrize("placement", ["shared", "tiered"])
class TestLoopback(_OnAServer):
    @pytest.fixture
    async def store(self, placement: Placement) -> AsyncGenerator[VectorStore, None]:
        async with loopback() as server:
            address = ServerAddress(server.url, api_key="secret")
            store = await ServerVectorStore.open(address, DIMENSION, placement=placement)
            yield store
            await store.close()


@pytest.mark.skipif(
    _REAL_URL is None, reason="no Qdrant server here: set BULKHEAD_TEST_QDRANT_URL to one"
)
@pytest.mark.parametrize("prefer_grpc", [False, True], ids=["rest", "grpc"])
class TestRealServer(_OnAServer):
    # Strict mode refuses a dense query that names no tenant, before it could leak.
    caught = (*CAUGHT, StoreError)

    @pytest.fixture
    async def store(self, prefer_grpc: bool) -> AsyncGenerator[VectorStore, None]:
        address = ServerAddress(str(_REAL_URL), _REAL_KEY, prefer_grpc=prefer_grpc)
        name = f"test-{uuid.uuid4().hex}"
        store = await ServerVectorStore.open(address, DIMENSION, collection=name)
        yield store
        await store._shared.connection.client.delete_collection(name)
        await store.close()
