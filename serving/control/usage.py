"""The usage ledger: written in batches behind the request, read by tenant or by the operator."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import stamina
import structlog
from sqlalchemy import func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.tenant_id import TenantId
from serving.control.database import Database
from serving.control.tables import UsageRow
from serving.metering.usage import TenantUsageSink, UsageRecord

_BATCH = 200
_WAITING = 10_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over requests. `engine_seconds` is the tenant's share of the engine's busy time."""

    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    engine_seconds: float = 0.0


class UsageLedger:
    """Everybody's usage. Bind it first; what is the operator's takes an `OperatorContext`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # A full queue makes requests wait for the database rather than lose what they used.
        self._queue: asyncio.Queue[tuple[TenantId, UsageRecord]] = asyncio.Queue(_WAITING)
        self._writer: asyncio.Task[None] | None = None

    def of(self, ctx: TenantContext) -> TenantLedger:
        """The ledger as this tenant sees it."""
        tenant = require_tenant(ctx, "the usage ledger").tenant_id
        return TenantLedger(self._database, self._queue, tenant)

    def start(self) -> None:
        """Begin to write what is recorded."""
        self._writer = asyncio.create_task(self._write_forever(), name="usage ledger")

    async def close(self) -> None:
        """Write what still waits, and stop."""
        if self._writer is None:
            return
        await self._queue.join()
        self._writer.cancel()
        await asyncio.wait({self._writer})
        self._writer = None

    async def flushed(self) -> None:
        """Returns when everything recorded so far is in the database."""
        await self._queue.join()

    async def tokens(self, ctx: TenantContext, since: datetime) -> int:
        """Prompts' and answers' tokens of the tenant since then, as far as written."""
        totals = await self.of(ctx).totals(since)
        return totals.prompt_tokens + totals.completion_tokens

    async def totals(
        self, operator: OperatorContext, since: datetime
    ) -> dict[TenantId, UsageTotals]:
        """The sums of each tenant that used anything since then."""
        require_operator(operator, "everybody's usage")
        query = (
            select(UsageRow.tenant_id, *_SUMS)
            .where(UsageRow.created_at >= _stored(since))
            .group_by(UsageRow.tenant_id)
            .order_by(UsageRow.tenant_id)
        )
        async with self._database.transaction() as session:
            rows = (await session.execute(query)).all()
        return {TenantId(tenant): _totals(*sums) for tenant, *sums in rows}

    async def _write_forever(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                await self._write(batch)
            except SQLAlchemyError as error:
                _log.error("usage.lost", records=len(batch), error=type(error).__name__)
            finally:
                for _ in batch:
                    self._queue.task_done()

    @stamina.retry(on=SQLAlchemyError, attempts=5)
    async def _write(self, batch: list[tuple[TenantId, UsageRecord]]) -> None:
        rows = [_row(tenant, record) for tenant, record in batch]
        async with self._database.transaction() as session:
            # By the connection: a session would look at each row as an object first.
            await (await session.connection()).execute(_INSERT, rows)


class TenantLedger(TenantUsageSink):
    """One tenant's usage."""

    def __init__(
        self,
        database: Database,
        queue: asyncio.Queue[tuple[TenantId, UsageRecord]],
        tenant: TenantId,
    ) -> None:
        self._database = database
        self._queue = queue
        self._tenant = tenant

    async def record(self, record: UsageRecord) -> None:
        await self._queue.put((self._tenant, record))

    async def totals(self, since: datetime) -> UsageTotals:
        """The sums since then, as far as written (a moment behind)."""
        query = select(*_SUMS).where(
            UsageRow.tenant_id == self._tenant, UsageRow.created_at >= _stored(since)
        )
        async with self._database.transaction() as session:
            return _totals(*(await session.execute(query)).one())


_SUMS = (
    func.count(),
    func.coalesce(func.sum(UsageRow.prompt_tokens), 0),
    func.coalesce(func.sum(UsageRow.cached_tokens), 0),
    func.coalesce(func.sum(UsageRow.completion_tokens), 0),
    func.coalesce(func.sum(UsageRow.busy_seconds), 0.0),
)
_INSERT = insert(UsageRow)
_FIELDS = [field.name for field in fields(UsageRecord) if field.name not in ("cost", "created_at")]
_COSTS = (
    "prefill_seconds",
    "decode_seconds",
    "busy_seconds",
    "kv_token_seconds",
    "computed_tokens",
    "peak_kv_tokens",
    "preemptions",
    "retractions",
    "worker_type",
)


def _totals(*sums: Any) -> UsageTotals:
    return UsageTotals(*sums)


def _row(tenant: TenantId, record: UsageRecord) -> dict[str, Any]:
    row = {name: getattr(record, name) for name in _FIELDS}
    row |= {"tenant_id": tenant, "created_at": _stored(record.created_at)}
    row["engine_queue_seconds"] = getattr(record.cost, "queue_seconds", None)
    return row | {name: getattr(record.cost, name, None) for name in _COSTS}


def _stored(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
