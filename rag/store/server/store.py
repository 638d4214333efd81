"""A Qdrant server or cluster: one collection of all tenants."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from qdrant_client import models

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.tenant_id import TenantId
from rag.errors import StoreError
from rag.store import predicate
from rag.store.placement import OneShard, TenantPlacement
from rag.store.port import TenantCollection, VectorStore
from rag.store.server.collection import ServerTenantCollection
from rag.store.server.connection import MANAGE_SECONDS, Connection, ServerAddress
from rag.store.server.layout import open_collection
from rag.store.server.placement import Placement, own_shard
from rag.store.server.promotion import TieredPlacement
from rag.store.server.rendering import rendered
from rag.store.server.shared import SharedCollection
from rag.store.terms import TermCounter, TermSpace


class ServerVectorStore(VectorStore):
    """One collection on a server. Several gateways may share it, if they share a database."""

    def __init__(self, shared: SharedCollection) -> None:
        self._shared = shared

    @classmethod
    async def open(
        cls,
        address: ServerAddress,
        dimension: int,
        *,
        collection: str = "bulkhead",
        placement: Placement = "shared",
        metadata: Mapping[str, object] | None = None,
        terms: TermSpace = TermSpace.own,
    ) -> ServerVectorStore:
        """Check the collection on the server, whose points' terms are in `terms`, or make it, with
        `metadata`.

        Raises:
            UnsafeCollectionError: its settings would leak or lose recall, or the server is too old.
            StoreUnavailableError: the server does not answer.
            StoreError: it refuses the key.
        """
        connection = Connection.to(address)
        try:
            routing = await open_collection(connection, collection, dimension, placement, metadata)
        except BaseException:
            await connection.close()
            raise
        return cls(SharedCollection(connection, collection, dimension, routing, TermCounter(terms)))

    def of(self, ctx: TenantContext) -> TenantCollection:
        return ServerTenantCollection(self._shared, require_tenant(ctx, "the vector store"))

    @property
    def shares_terms(self) -> bool:
        return self._shared.terms.space is TermSpace.shared

    @property
    def placement(self) -> TenantPlacement:
        """How tenants are moved to shards of their own."""
        if self._shared.routing.placement == "shared":
            return OneShard()
        return TieredPlacement(self._shared)

    @property
    def collection(self) -> str:
        """The collection's name."""
        return self._shared.name

    async def note(self, metadata: Mapping[str, object]) -> None:
        """Keep `metadata` with the collection.

        Raises:
            StoreError: the key may not change collections.
        """
        shared = self._shared
        await shared.connection.write(
            lambda: shared.connection.client.update_collection(shared.name, metadata=dict(metadata))
        )

    async def settle(
        self,
        operator: OperatorContext,
        tenant: TenantId,
        document_id: str,
        version: str | None,
        *,
        versions: Collection[str] | None = None,
    ) -> None:
        require_operator(operator, "settling the vector store")
        await self._shared.settle(tenant, document_id, version, versions)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        require_operator(operator, "purging the vector store")
        shared, connection = self._shared, self._shared.connection
        everything = rendered(predicate.everything_of(tenant))
        # On every shard, whichever answers for the tenant now: no route is given.
        points = models.FilterSelector(filter=everything)
        await connection.manage(
            lambda: connection.client.delete(shared.name, points, wait=True, timeout=MANAGE_SECONDS)
        )
        left = await connection.read(
            lambda: connection.client.count(shared.name, everything, exact=True)
        )
        if left.count:
            raise StoreError("Points of the tenant are still there; delete it again.")
        if shared.routing.placement == "tiered":
            await self._drop_shard(tenant)

    async def _drop_shard(self, tenant: TenantId) -> None:
        shared, connection = self._shared, self._shared.connection
        answer = await connection.read(lambda: connection.client.list_shard_keys(shared.name))
        if (own := own_shard(tenant)) in [one.key for one in answer.shard_keys or []]:
            await connection.manage(
                lambda: connection.client.delete_shard_key(shared.name, own, timeout=MANAGE_SECONDS)
            )

    async def close(self) -> None:
        await self._shared.connection.close()
