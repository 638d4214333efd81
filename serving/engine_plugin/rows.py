"""Each row of a batch is one request's, as it was admitted: namespace, adapter, slots, metering.

SGLang forms a new batch for every step: it merges, filters, retracts and chunks. What is about to
run is therefore looked at each time, on the host alone, so that nothing waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serving.engine_plugin import hooks
from serving.engine_plugin.claims import Claims
from serving.engine_plugin.stopwatch import RequestWatch


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a request is, as the scheduler admitted it.

    adapter: SGLang's id of one load of the adapter that the claims name; None for the base model.
    """

    claims: Claims
    adapter: str | None
    watch: RequestWatch


def own(request: Any, claims: Claims, adapter: str | None, watch: RequestWatch) -> None:
    """Note on SGLang's `Req` whose it is."""
    request.bulkhead_owner = Owner(claims, adapter, watch)
    request.bulkhead_claims = claims
    request.bulkhead_watch = watch


def require_own(batch: Any) -> None:
    """End the process if a row of a batch (SGLang's `ScheduleBatch`) is not all one request's.

    The model takes adapters from the requests and block tables from `req_pool_indices`.
    """
    rows = []
    for request in batch.reqs:
        if not _is_own(request):
            hooks.refuse_to_serve("a row of a batch left its namespace, adapter or metering")
        rows.append(request.kv.req_pool_idx)
    if len(set(rows)) != len(rows):
        hooks.refuse_to_serve("two rows of a batch share their slots")
    if _block_tables(batch) != rows:
        hooks.refuse_to_serve("a row of a batch reads another one's slots")


def _is_own(request: Any) -> bool:
    owner: Owner | None = getattr(request, "bulkhead_owner", None)
    return (
        owner is not None
        and request.bulkhead_claims is owner.claims
        and request.bulkhead_watch is owner.watch
        and request.rid == owner.claims.request_id
        and request.cache_salt == owner.claims.namespace
        # The rest of the key of its prefixes: with a caller's part of it refused, only this.
        and request.lora_id == request.extra_key == owner.adapter
        and (owner.adapter is None) == (not owner.claims.adapter)
    )


def _block_tables(batch: Any) -> list[int]:
    """Which row of SGLang's table of slots each row of the batch reads."""
    indices = batch.req_pool_indices
    if indices.device.type != "cpu":
        indices = batch.req_pool_indices_cpu
    tables: list[int] = indices.tolist()
    return tables
