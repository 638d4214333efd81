"""Tiers on a Qdrant cluster: a large tenant moves to a shard of its own, while it is served.

Qdrant copies the points and switches the tenant's requests over by itself, once the copy is whole.
What stays behind is deleted here, after a look at both sides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from uuid import UUID

from qdrant_client import models

from isolation.context import OperatorContext, require_operator
from isolation.tenant_id import TenantId
from rag.errors import StoreError, StoreUnavailableError
from rag.store import predicate
from rag.store.conditions import Every, PointAmong
from rag.store.placement import TenantPlacement
from rag.store.server.connection import MANAGE_SECONDS
from rag.store.server.placement import SMALL_TENANTS, own_shard, owner_of
from rag.store.server.rendering import rendered
from rag.store.server.shared import SharedCollection

_PAGE = 256
_POLL_SECONDS = 0.5
_FIELDS = [predicate.DOCUMENT, predicate.VERSION]


class TieredPlacement(TenantPlacement):
    """Tenants' shards of one collection. `patience`: seconds that a copy is waited for."""

    def __init__(self, shared: SharedCollection, patience: float = 240.0) -> None:
        self._shared = shared
        self._connection = shared.connection
        self._client = shared.connection.client
        self._patience = patience

    async def on_own_shards(self, operator: OperatorContext) -> frozenset[TenantId]:
        require_operator(operator, "the tenants' placement")
        states = await self._states()
        return frozenset(
            owner
            for key, state in states.items()
            if (owner := owner_of(key)) is not None and state == models.ReplicaState.ACTIVE
        )

    async def prepare(self, operator: OperatorContext, tenants: Collection[TenantId]) -> None:
        require_operator(operator, "the tenants' placement")
        there = await self._states()
        for own in sorted(map(own_shard, tenants)):
            if own not in there:
                await self._make(own, models.ReplicaState.ACTIVE)

    async def promote(
        self, operator: OperatorContext, tenant: TenantId, committed: Mapping[str, str]
    ) -> int:
        require_operator(operator, "promoting a tenant")
        own, everything = own_shard(tenant), predicate.everything_of(tenant)
        state = (await self._states()).get(own)
        if state is None:
            # Partial: requests go to the shared shard until this one is whole.
            await self._make(own, models.ReplicaState.PARTIAL)
        if state != models.ReplicaState.ACTIVE:
            await self._copy(own, everything)
            await self._until_active(own)
        await self._compare(tenant, own, committed)
        left = models.FilterSelector(filter=rendered(everything), shard_key=SMALL_TENANTS)
        await self._connection.manage(
            lambda: self._client.delete(
                self._shared.name,
                left,
                wait=True,
                shard_key_selector=SMALL_TENANTS,
                timeout=MANAGE_SECONDS,
            )
        )
        return await self._count(own, everything)

    async def _states(self) -> dict[object, models.ReplicaState]:
        """Every shard key's state; that of its least ready replica."""
        info = await self._connection.read(
            lambda: self._client.collection_cluster_info(self._shared.name)
        )
        states: dict[object, models.ReplicaState] = {}
        shards: list[models.LocalShardInfo | models.RemoteShardInfo]
        shards = [*info.local_shards, *info.remote_shards]
        for shard in shards:
            if states.get(shard.shard_key) in (None, models.ReplicaState.ACTIVE):
                states[shard.shard_key] = shard.state
        return states

    async def _make(self, own: str, state: models.ReplicaState) -> None:
        await self._connection.manage(
            lambda: self._client.create_shard_key(
                self._shared.name,
                own,
                shards_number=1,
                initial_state=state,
                timeout=MANAGE_SECONDS,
            )
        )

    async def _copy(self, own: str, everything: Every) -> None:
        copy = models.ReplicatePointsOperation(
            replicate_points=models.ReplicatePoints(
                filter=rendered(everything), from_shard_key=SMALL_TENANTS, to_shard_key=own
            )
        )
        info = await self._connection.read(
            lambda: self._client.collection_cluster_info(self._shared.name)
        )
        if info.shard_transfers:
            return  # An earlier run's, or another tenant's: it is waited for.
        await self._connection.manage(
            lambda: self._client.cluster_collection_update(
                self._shared.name, copy, timeout=MANAGE_SECONDS
            )
        )

    async def _until_active(self, own: str) -> None:
        deadline = time.monotonic() + self._patience
        while (await self._states()).get(own) != models.ReplicaState.ACTIVE:
            if time.monotonic() > deadline:
                raise StoreUnavailableError(30)
            await asyncio.sleep(_POLL_SECONDS)

    async def _compare(self, tenant: TenantId, own: str, committed: Mapping[str, str]) -> None:
        """Nothing that is committed may be missing on the new shard. What is missing of other
        versions was deleted after the switch."""
        everything, rest = predicate.everything_of(tenant), None
        while True:
            page, rest = await self._page(everything, SMALL_TENANTS, rest)
            there = await self._ids(everything, own, [UUID(str(one.id)) for one in page])
            for record in page:
                payload = record.payload or {}
                version = committed.get(payload[predicate.DOCUMENT])
                if record.id not in there and version == payload[predicate.VERSION]:
                    raise StoreError(
                        "The tenant's own shard lacks documents; nothing was deleted. Run it again."
                    )
            if rest is None:
                return

    async def _page(
        self, mine: Every, shard: str, begin: models.ExtendedPointId | None
    ) -> tuple[list[models.Record], models.ExtendedPointId | None]:
        asked = rendered(mine)
        return await self._connection.read(
            lambda: self._client.scroll(
                self._shared.name,
                scroll_filter=asked,
                limit=_PAGE,
                offset=begin,
                with_payload=_FIELDS,
                shard_key_selector=shard,
            )
        )

    async def _ids(self, mine: Every, shard: str, ids: list[UUID]) -> set[models.ExtendedPointId]:
        if not ids:
            return set()
        among = Every((*mine.parts, PointAmong(tuple(ids))))
        page, _ = await self._page(among, shard, None)
        return {one.id for one in page}

    async def _count(self, shard: str, mine: Every) -> int:
        asked = rendered(mine)
        answer = await self._connection.read(
            lambda: self._client.count(
                self._shared.name, asked, exact=True, shard_key_selector=shard
            )
        )
        return answer.count
