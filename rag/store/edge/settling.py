"""One version of a document is shown, or none: at once where that is one short call, else in steps
that no read sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Protocol, TypeVar

from qdrant_edge import CountRequest, EdgeShard, ScrollRequest, UpdateOperation

from isolation.tenant_id import TenantId
from rag.store import predicate
from rag.store.conditions import Every
from rag.store.edge.hidden import Hidden
from rag.store.edge.rendering import rendered

T = TypeVar("T")
# Points of one call: some 10 ms, in which nothing else runs.
_BATCH = 200
_SHOWN = {predicate.STATE: predicate.PUBLISHED}


class Shard(Protocol):
    """The shard, and what its reads pass over."""

    @property
    def hidden(self) -> Hidden:
        """Of all tenants."""

    def run(self, job: Callable[[EdgeShard], T]) -> T:
        """Run `job` on the shard, alone."""


async def show(
    shard: Shard,
    tenant: TenantId,
    document_id: str,
    version: str,
    versions: Collection[str] | None = None,
) -> None:
    """Show one version and delete the others, of `versions` only where they are given; no read sees
    two, or a part of one."""
    others = predicate.replaced_by(tenant, document_id, version, versions)
    everything = predicate.document_of(tenant, document_id)
    if len(shard.run(lambda edge: edge.scroll(_request(everything, _BATCH + 1))[0])) <= _BATCH:
        mine = predicate.version_of(tenant, document_id, version)
        shard.run(lambda edge: _show_at_once(edge, mine, others))
        _settled(shard, tenant, document_id)
        return
    shard.hidden.put(tenant, document_id, predicate.version_of(tenant, document_id, version))
    staged = predicate.staged(tenant, document_id, version)
    await _each(shard, staged, lambda ids: UpdateOperation.set_payload(ids, _SHOWN))
    # The moment: before it reads see the old version whole, after it the new one.
    shard.hidden.put(tenant, document_id, others)
    await _each(shard, others, UpdateOperation.delete_points)
    _settled(shard, tenant, document_id)


async def remove(
    shard: Shard, tenant: TenantId, document_id: str, versions: Collection[str] | None = None
) -> None:
    """Delete every version, or `versions`; no read sees any of them from the first step on."""
    gone = predicate.versions_of(tenant, document_id, versions)
    shard.hidden.put(tenant, document_id, gone)
    await _each(shard, gone, UpdateOperation.delete_points)
    _settled(shard, tenant, document_id)


async def remove_all(shard: Shard, tenant: TenantId) -> None:
    """Delete every point of a tenant that nobody reads any more."""
    await _each(shard, predicate.everything_of(tenant), UpdateOperation.delete_points)


def _settled(shard: Shard, tenant: TenantId, document_id: str) -> None:
    """The document is one version, or none; it may have been the last of what was staged."""
    shard.hidden.clear(tenant, document_id)
    waiting = CountRequest(exact=True, filter=rendered(predicate.all_staged(tenant)))

    def look(edge: EdgeShard) -> None:
        if not edge.count(waiting):
            shard.hidden.none_staged(tenant)

    shard.run(look)


def _show_at_once(edge: EdgeShard, mine: Every, others: Every) -> None:
    edge.update(UpdateOperation.set_payload_by_filter(rendered(mine), _SHOWN))
    edge.update(UpdateOperation.delete_points_by_filter(rendered(others)))


async def _each(
    shard: Shard, condition: Every, change: Callable[[list[Any]], UpdateOperation]
) -> None:
    """Change what fulfils `condition`; other requests run in between. By id, and not from the start
    each time: what was changed already would be gone through again by every step."""
    after: Any = None
    while True:
        step = partial(_changed, condition=condition, change=change, begin=after)
        after = shard.run(step)
        if after is None:
            return
        await asyncio.sleep(0)


def _changed(
    edge: EdgeShard,
    condition: Every,
    change: Callable[[list[Any]], UpdateOperation],
    begin: Any,
) -> Any:
    """One step from the id `begin` on; where the next one begins, None at the end."""
    request = _request(condition, _BATCH, begin)
    records, after = edge.scroll(request)
    if records:
        edge.update(change([record.id for record in records]))
    return after


def _request(condition: Every, limit: int, begin: Any = None) -> ScrollRequest:
    return ScrollRequest(offset=begin, limit=limit, filter=rendered(condition), with_payload=False)
