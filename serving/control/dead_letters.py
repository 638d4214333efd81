"""Which requests engines died of: suspects, and from the third time on dead letters.

Nothing of a request is kept but its hash (`admission.suspects`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.exc import IntegrityError

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.tenant_id import TenantId
from serving.control.database import Database, utc_now
from serving.control.errors import DeadLetterNotFoundError
from serving.control.tables import CrashRow

# With so many, a request is a dead letter.
MOST_CRASHES = 3
# Of a request that was never tried again. A dead letter stays until it is released.
_SUSPECTED = timedelta(hours=1)
# How long a gateway may not know what another one has seen.
_SECONDS = 2.0
_REMEMBERED = 10_000

_Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A request that is not tried any more. `id` is its hash; times are UTC."""

    id: str
    tenant_id: TenantId
    model: str
    crashes: int
    first_at: datetime
    last_at: datetime


class CrashLedger:
    """Everybody's. Bind it first; what is the operator's takes an `OperatorContext`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[TenantId, tuple[float, _Counts]] = {}

    def of(self, ctx: TenantContext) -> TenantCrashLedger:
        """The tenant's own."""
        tenant = require_tenant(ctx, "the crashes").tenant_id
        return TenantCrashLedger(self._database, tenant, self._known)

    async def dead_letters(self, operator: OperatorContext) -> list[DeadLetter]:
        """All, the newest first."""
        require_operator(operator, "the dead letters")
        query = (
            select(CrashRow)
            .where(CrashRow.crashes >= MOST_CRASHES)
            .order_by(CrashRow.last_at.desc())
        )
        async with self._database.transaction() as session:
            return [_letter(row) for row in await session.scalars(query)]

    async def release(self, operator: OperatorContext, dead_letter: str) -> None:
        """Let a request be tried again, as if nothing had been.

        Raises:
            DeadLetterNotFoundError: there is none of this id.
        """
        require_operator(operator, "releasing a dead letter")
        one = (
            delete(CrashRow)
            .where(CrashRow.request_hash == dead_letter, CrashRow.crashes >= MOST_CRASHES)
            .returning(CrashRow.tenant_id)
        )
        async with self._database.transaction() as session:
            tenant = await session.scalar(one)
        if tenant is None:
            raise DeadLetterNotFoundError
        self._known.pop(TenantId(tenant), None)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Forget all of a tenant's."""
        require_operator(operator, "a tenant's crashes")
        async with self._database.transaction() as session:
            await session.execute(delete(CrashRow).where(CrashRow.tenant_id == tenant))
        self._known.pop(tenant, None)


class TenantCrashLedger:
    """One tenant's. known: what this gateway has read, of all; the tenant's entry alone is used."""

    def __init__(
        self, database: Database, tenant: TenantId, known: dict[TenantId, tuple[float, _Counts]]
    ) -> None:
        self._database = database
        self._tenant = tenant
        self._known = known

    async def counts(self) -> _Counts:
        """How many engines died with each request; suspicions that are an hour old are none."""
        known = self._known.get(self._tenant)
        if known is None or known[0] < time.monotonic():
            known = (time.monotonic() + _SECONDS, await self._stored())
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[self._tenant] = known
        return known[1]

    async def crashed(self, request_hash: str, model: str, worker: str) -> None:
        """This worker died with it."""
        now = utc_now()
        again = (
            update(CrashRow)
            .where(*self._one(request_hash), CrashRow.worker != worker)
            .values(crashes=CrashRow.crashes + 1, worker=worker, model=model, last_at=now)
        )
        first = CrashRow(
            tenant_id=self._tenant,
            request_hash=request_hash,
            model=model,
            crashes=1,
            worker=worker,
            first_at=now,
            last_at=now,
        )
        try:
            async with self._database.transaction() as session:
                await session.execute(delete(CrashRow).where(*self._old()))
                if not (await session.execute(again)).rowcount:  # type: ignore[attr-defined]
                    session.add(first)
        except IntegrityError:
            pass  # two of its kind were there at once: that is one crash
        self._known.pop(self._tenant, None)

    async def answered(self, request_hash: str) -> None:
        """It was not the one; a dead letter stays one."""
        one = delete(CrashRow).where(*self._one(request_hash), CrashRow.crashes < MOST_CRASHES)
        async with self._database.transaction() as session:
            await session.execute(one)
        self._known.pop(self._tenant, None)

    async def _stored(self) -> _Counts:
        query = select(CrashRow.request_hash, CrashRow.crashes).where(
            CrashRow.tenant_id == self._tenant,
            or_(CrashRow.crashes >= MOST_CRASHES, CrashRow.last_at >= utc_now() - _SUSPECTED),
        )
        async with self._database.looking() as connection:
            return {row.request_hash: row.crashes for row in await connection.execute(query)}

    def _one(self, request_hash: str) -> tuple[ColumnElement[bool], ...]:
        return CrashRow.tenant_id == self._tenant, CrashRow.request_hash == request_hash

    def _old(self) -> tuple[ColumnElement[bool], ...]:
        old = CrashRow.last_at < utc_now() - _SUSPECTED
        return CrashRow.tenant_id == self._tenant, CrashRow.crashes < MOST_CRASHES, old


def _letter(row: CrashRow) -> DeadLetter:
    return DeadLetter(
        id=row.request_hash,
        tenant_id=TenantId(row.tenant_id),
        model=row.model,
        crashes=row.crashes,
        first_at=row.first_at,
        last_at=row.last_at,
    )
