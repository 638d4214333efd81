"""Where a tenant's points are kept: with everybody's small ones, or on a shard of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

from isolation.context import OperatorContext
from isolation.tenant_id import TenantId
from rag.errors import PlacementError


class TenantPlacement(ABC):
    """Places tenants; every function is the operator's."""

    @abstractmethod
    async def on_own_shards(self, operator: OperatorContext) -> frozenset[TenantId]:
        """Who has a shard of its own, filled and answering."""

    @abstractmethod
    async def prepare(self, operator: OperatorContext, tenants: Collection[TenantId]) -> None:
        """Give these a shard of their own where no point is yet: a generation to be filled."""

    @abstractmethod
    async def promote(
        self, operator: OperatorContext, tenant: TenantId, committed: Mapping[str, str]
    ) -> int:
        """Give the tenant a shard of its own, with all its points; how many it has there.

        Searches and writes go on meanwhile. Repeating it after any failure goes on where it
        stopped; when it was done, nothing is left to do.

        committed: version by document id, as the catalogue says: what must be on the new shard
        before anything leaves the old one.

        Raises:
            PlacementError: there is but one shard for everybody.
            StoreError: something that is committed is not on the new shard; nothing was deleted.
            StoreUnavailableError: the transfer goes on; run it again.
        """


class OneShard(TenantPlacement):
    """Everybody's points are on one shard: the embedded store, or a server without tiers."""

    async def on_own_shards(self, operator: OperatorContext) -> frozenset[TenantId]:
        return frozenset()

    async def prepare(self, operator: OperatorContext, tenants: Collection[TenantId]) -> None:
        return

    async def promote(
        self, operator: OperatorContext, tenant: TenantId, committed: Mapping[str, str]
    ) -> int:
        raise PlacementError
