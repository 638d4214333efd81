"""Rollouts in the database: a change and its line of the audit trail are one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, and_, delete, func, select, true, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.tenant_id import TenantId
from serving.control.claims import check_not_deleted
from serving.control.database import Database, utc_now
from serving.control.tables import RolloutFiguresRow, RolloutRow, RolloutStepRow
from serving.rollout.errors import RolloutRunsError, RolloutStateError
from serving.rollout.figures import Figures
from serving.rollout.policy import RolloutPolicy
from serving.rollout.ports import RolloutIndex, TenantRolloutIndex
from serving.rollout.records import OPEN, WAYS, Change, Proposal, Rollout, State, Step


class SqlRolloutIndex(RolloutIndex):
    """All tenants' rollouts in one table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, ctx: TenantContext) -> TenantRolloutIndex:
        return _SqlTenantIndex(self._database, require_tenant(ctx, "the rollouts").tenant_id)

    def acting_for(self, operator: OperatorContext, tenant: TenantId) -> TenantRolloutIndex:
        require_operator(operator, "a tenant's rollouts")
        return _SqlTenantIndex(self._database, tenant)

    async def everybodys(self, operator: OperatorContext) -> Sequence[Rollout]:
        require_operator(operator, "everybody's rollouts")
        return await _listed(self._database, true())

    async def running(self, operator: OperatorContext) -> Sequence[Rollout]:
        require_operator(operator, "everybody's rollouts")
        return await _listed(self._database, RolloutRow.state == State.RUNNING)

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        require_operator(operator, "purging rollouts")
        async with self._database.transaction() as session:
            # Figures and steps go with them.
            await session.execute(delete(RolloutRow).where(_mine(tenant)))
        await self._database.forget_deleted()


class _SqlTenantIndex(TenantRolloutIndex):
    def __init__(self, database: Database, tenant: TenantId) -> None:
        self._database = database
        self._tenant = tenant

    async def add(self, proposal: Proposal, who: str) -> Rollout:
        try:
            async with self._database.transaction() as session:
                row = await self._added(session, proposal)
                session.add(_first_step(row, who))
                await check_not_deleted(session, self._tenant)
        except IntegrityError:
            # An open one holds the name, or another proposal was quicker.
            raise RolloutRunsError from None
        return _rollout(row)

    async def _added(self, session: AsyncSession, proposal: Proposal) -> RolloutRow:
        mine = _mine(self._tenant, proposal.name)
        over = update(RolloutRow).where(mine, RolloutRow.state.not_in(OPEN))
        await session.execute(over.values(holds=False))
        last = await session.scalar(select(func.max(RolloutRow.number)).where(mine))
        row = _row(self._tenant, proposal, (last or 0) + 1)
        session.add(row)
        await session.flush()
        return row

    async def holding(self) -> Sequence[Rollout]:
        return await _listed(self._database, and_(_mine(self._tenant), RolloutRow.holds))

    async def list(self, name: str) -> Sequence[Rollout]:
        return await _listed(self._database, _mine(self._tenant, name))

    async def steps(self, rollout: Rollout) -> Sequence[Step]:
        query = (
            select(RolloutStepRow)
            .join(RolloutRow, RolloutRow.id == RolloutStepRow.rollout_id)
            .where(self._one(rollout))
            .order_by(RolloutStepRow.revision)
        )
        async with self._database.transaction() as session:
            return [_step(row) for row in await session.scalars(query)]

    async def figures(self, rollout: Rollout) -> Figures:
        query = (
            select(RolloutFiguresRow.figures)
            .join(RolloutRow, RolloutRow.id == RolloutFiguresRow.rollout_id)
            .where(self._one(rollout))
        )
        async with self._database.transaction() as session:
            counted = [Figures.decoded(one) for one in await session.scalars(query)]
        return sum(counted, Figures())

    async def add_figures(self, rollout: Rollout, writer: str, figures: Figures) -> bool:
        # Locked: a decision that comes now waits, and its figures do not change afterwards.
        runs = select(RolloutRow.id).where(self._one(rollout), RolloutRow.state == State.RUNNING)
        async with self._database.transaction() as session:
            if await session.scalar(runs.with_for_update(read=True)) is None:
                return False
            await _put(session, rollout.id, writer, figures)
        return True

    async def change(self, rollout: Rollout, change: Change) -> Rollout:
        if change.after not in WAYS[rollout.state]:
            raise RolloutStateError
        as_read = and_(self._one(rollout), RolloutRow.revision == rollout.revision)
        changed = update(RolloutRow).where(as_read).values(**_changed(rollout, change))
        changed = changed.execution_options(synchronize_session=False)
        async with self._database.transaction() as session:
            done = cast(CursorResult[Any], await session.execute(changed))
            if not done.rowcount:
                raise RolloutStateError
            session.add(_next_step(rollout, change))
            await session.flush()
            row = (await session.scalars(select(RolloutRow).where(self._one(rollout)))).one()
        return _rollout(row)

    def _one(self, rollout: Rollout) -> ColumnElement[bool]:
        return and_(_mine(self._tenant), RolloutRow.id == rollout.id)


def _mine(tenant: TenantId, name: str | None = None) -> ColumnElement[bool]:
    """The tenant's rollouts, of one adapter if named: every WHERE on rollouts is made here."""
    own = RolloutRow.tenant_id == tenant
    return own if name is None else and_(own, RolloutRow.name == name)


async def _listed(database: Database, which: ColumnElement[bool]) -> list[Rollout]:
    order = (RolloutRow.tenant_id, RolloutRow.name, RolloutRow.number)
    async with database.transaction() as session:
        return [
            _rollout(row)
            for row in await session.scalars(select(RolloutRow).where(which).order_by(*order))
        ]


async def _put(session: AsyncSession, rollout_id: str, writer: str, figures: Figures) -> None:
    dialect: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    encoded = figures.encoded()
    row = dialect.insert(RolloutFiguresRow).values(
        rollout_id=rollout_id, writer=writer, figures=encoded
    )
    await session.execute(
        row.on_conflict_do_update(
            index_elements=["rollout_id", "writer"], set_={"figures": encoded}
        )
    )


def _row(tenant: TenantId, proposal: Proposal, number: int) -> RolloutRow:
    return RolloutRow(
        id=secrets.token_hex(16),
        tenant_id=tenant,
        name=proposal.name,
        number=number,
        control=proposal.control,
        candidate=proposal.candidate,
        percent=proposal.percent,
        policy=proposal.policy.model_dump(mode="json"),
        shadow=proposal.shadow,
        state=State.PROPOSED,
        holds=True,
        revision=1,
        looks=0,
        created_at=utc_now(),
        started_at=None,
        ended_at=None,
    )


def _changed(rollout: Rollout, change: Change) -> dict[str, Any]:
    values: dict[str, Any] = {"state": change.after, "revision": rollout.revision + 1}
    if change.looks is not None:
        values["looks"] = change.looks
    if not change.holds:
        values["holds"] = False
    if rollout.state is State.PROPOSED and change.after is State.RUNNING:
        values["started_at"] = utc_now()
    if rollout.state in OPEN and change.after not in OPEN:
        values["ended_at"] = utc_now()
    return values


def _first_step(row: RolloutRow, who: str) -> RolloutStepRow:
    return RolloutStepRow(
        rollout_id=row.id,
        revision=1,
        at=row.created_at,
        who=who,
        state_before=None,
        state_after=State.PROPOSED,
        why=["proposed"],
        figures=None,
    )


def _next_step(rollout: Rollout, change: Change) -> RolloutStepRow:
    return RolloutStepRow(
        rollout_id=rollout.id,
        revision=rollout.revision + 1,
        at=utc_now(),
        who=change.who,
        state_before=rollout.state,
        state_after=change.after,
        why=list(change.why),
        figures=None if change.figures is None else change.figures.encoded(),
    )


def _rollout(row: RolloutRow) -> Rollout:
    return Rollout(
        tenant=TenantId(row.tenant_id),
        id=row.id,
        proposal=Proposal(
            row.name,
            row.control,
            row.candidate,
            row.percent,
            RolloutPolicy.model_validate(row.policy),
            row.shadow,
        ),
        number=row.number,
        state=State(row.state),
        holds=row.holds,
        revision=row.revision,
        looks=row.looks,
        created_at=row.created_at.replace(tzinfo=UTC),
        started_at=_zoned(row.started_at),
        ended_at=_zoned(row.ended_at),
    )


def _step(row: RolloutStepRow) -> Step:
    return Step(
        revision=row.revision,
        at=row.at.replace(tzinfo=UTC),
        who=row.who,
        before=None if row.state_before is None else State(row.state_before),
        after=State(row.state_after),
        why=tuple(row.why),
        figures=None if row.figures is None else Figures.decoded(row.figures),
    )


def _zoned(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
