"""What all tenants of a server share: one collection, and how its points are counted and settled.

Every function takes the tenant whose points it is about, and the predicate that says so.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from qdrant_client import models

from isolation.tenant_id import TenantId
from rag.store import predicate
from rag.store.conditions import Every
from rag.store.schema import DENSE
from rag.store.server.connection import Connection
from rag.store.server.placement import Routing
from rag.store.server.rendering import rendered
from rag.store.terms import TermCounter


@dataclass(frozen=True, slots=True)
class SharedCollection:
    """What all tenants share: the collection called `name` behind `connection`."""

    connection: Connection
    name: str
    dimension: int
    routing: Routing
    terms: TermCounter

    async def count(self, mine: Every, tenant: TenantId) -> int:
        """How many of the tenant's points fulfil `mine`."""
        asked, route = rendered(mine), self.routing.of(tenant)
        client = self.connection.client
        answer = await self.connection.read(
            lambda: client.count(self.name, asked, exact=True, shard_key_selector=route)
        )
        return answer.count

    async def settle(
        self,
        tenant: TenantId,
        document_id: str,
        version: str | None,
        versions: Collection[str] | None,
    ) -> None:
        """Show one version of a document and delete the others; None deletes all. Of `versions`
        only, where they are given.

        One batch: the server does its operations in their order. A reader between the two sees
        both versions whole, and never none.
        """
        route = self.routing.of(tenant)
        operations: list[models.UpdateOperation]
        if version is None:
            operations = [_deletion(predicate.versions_of(tenant, document_id, versions), route)]
        else:
            shown = models.SetPayload(
                payload={predicate.STATE: predicate.PUBLISHED},
                filter=rendered(predicate.version_of(tenant, document_id, version)),
                shard_key=route,
            )
            others = predicate.replaced_by(tenant, document_id, version, versions)
            operations = [models.SetPayloadOperation(set_payload=shown), _deletion(others, route)]
        client = self.connection.client
        await self.connection.write(
            lambda: client.batch_update_points(self.name, operations, wait=True)
        )

    async def scroll(
        self,
        mine: Every,
        tenant: TenantId,
        fields: list[str] | Literal[True],
        limit: int,
        begin: models.ExtendedPointId | None = None,
        *,
        vectors: bool = False,
    ) -> tuple[list[models.Record], models.ExtendedPointId | None]:
        """Some of the tenant's points that fulfil `mine`, and where to go on.

        fields: of the payload; True: all of it.
        """
        asked, route = rendered(mine), self.routing.of(tenant)
        client = self.connection.client
        return await self.connection.read(
            lambda: client.scroll(
                self.name,
                scroll_filter=asked,
                limit=limit,
                offset=begin,
                with_payload=fields,
                with_vectors=[DENSE] if vectors else False,
                shard_key_selector=route,
            )
        )


def _deletion(mine: Every, route: models.ShardKeyWithFallback | None) -> models.DeleteOperation:
    return models.DeleteOperation(
        delete=models.FilterSelector(filter=rendered(mine), shard_key=route)
    )
