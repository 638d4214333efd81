"""The residency ledger: whose adapter occupied how much of the engine, for how long."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy import func, select

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.tenant_id import TenantId
from serving.control.database import Database
from serving.control.tables import ResidencyRow
from serving.metering.residency import ResidencyRecord, TenantResidencySink

_BYTE_SECONDS = func.coalesce(func.sum(ResidencyRow.bytes * ResidencyRow.seconds), 0.0)


class ResidencyLedger:
    """Everybody's residency. Bind it first; what is the operator's takes an OperatorContext."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, ctx: TenantContext) -> TenantResidencyLedger:
        """The ledger as this tenant sees it."""
        tenant = require_tenant(ctx, "the residency ledger").tenant_id
        return TenantResidencyLedger(self._database, tenant)

    async def totals(self, operator: OperatorContext, since: datetime) -> dict[TenantId, int]:
        """Bytes x seconds of each tenant whose adapters were resident since then."""
        require_operator(operator, "everybody's residency")
        query = (
            select(ResidencyRow.tenant_id, _BYTE_SECONDS)
            .where(ResidencyRow.created_at >= _stored(since))
            .group_by(ResidencyRow.tenant_id)
        )
        async with self._database.transaction() as session:
            rows = (await session.execute(query)).all()
        return {TenantId(tenant): round(total) for tenant, total in rows}


class TenantResidencyLedger(TenantResidencySink):
    """One tenant's residency."""

    def __init__(self, database: Database, tenant: TenantId) -> None:
        self._database = database
        self._tenant = tenant

    async def record(self, record: ResidencyRecord) -> None:
        values = asdict(record) | {"created_at": _stored(record.created_at)}
        async with self._database.transaction() as session:
            session.add(ResidencyRow(id=secrets.token_hex(16), tenant_id=self._tenant, **values))

    async def byte_seconds(self, since: datetime) -> int:
        """Bytes x seconds since then, as far as accounted (half a minute behind)."""
        mine = (ResidencyRow.tenant_id == self._tenant, ResidencyRow.created_at >= _stored(since))
        async with self._database.transaction() as session:
            total = (await session.execute(select(_BYTE_SECONDS).where(*mine))).scalar_one()
        return round(total)


def _stored(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
