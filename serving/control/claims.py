"""Who writes a document: one writer at a time, over all gateways that share the database.

A claim is one row, changed by compare-and-set on its token, so that it needs no lock that a dead
gateway could keep.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, and_, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from isolation.errors import TenantSuspendedError
from isolation.tenant_id import TenantId
from rag.catalog import CLAIM_SECONDS, Claim
from rag.errors import DocumentBusyError
from serving.control.database import Database, utc_now
from serving.control.tables import DocumentRow, PendingWriteRow, TenantRow
from serving.control.tenants import DELETED, DELETING

_HELD = timedelta(seconds=CLAIM_SECONDS)


async def claimed(
    database: Database,
    tenant: TenantId,
    document_id: str,
    version: str | None,
    check: Callable[[AsyncSession], Awaitable[None]],
) -> Claim:
    """A new claim on one document. `check`: what else must hold in its transaction.

    Raises:
        DocumentBusyError: another writer has it.
        TenantSuspendedError: the tenant is being deleted.
    """
    mine = of_document(PendingWriteRow, tenant, document_id)
    try:
        async with database.transaction() as session:
            left = await session.scalar(select(PendingWriteRow).where(mine))
            if left is not None and left.expires_at > utc_now():
                raise DocumentBusyError
            claim = await _take(session, tenant, document_id, left)
            # Read after the claim is ours: no other writer can commit any more.
            known = await _versions(session, tenant, claim, left)
            if known is not None and version is not None:
                known |= {version}
            await _note(session, tenant, claim, known)
            await check(session)
            await check_not_deleted(session, tenant)
    except IntegrityError:
        raise DocumentBusyError from None
    return Claim(document_id, claim.token, None if known is None else frozenset(known))


async def taken_over(session: AsyncSession, left: PendingWriteRow) -> Claim | None:
    """The claim of a writer that is silent, as one's own; None if somebody was quicker."""
    tenant = TenantId(left.tenant_id)
    try:
        claim = await _take(session, tenant, left.document_id, left)
    except DocumentBusyError:
        return None
    known = await _versions(session, tenant, claim, left)
    await _note(session, tenant, claim, known)
    return Claim(left.document_id, claim.token, None if known is None else frozenset(known))


async def hold(
    session: AsyncSession, tenant: TenantId, claim: Claim, seconds: float = CLAIM_SECONDS
) -> None:
    """Hold on to a claim for so long, in the transaction of what it protects.

    Raises:
        DocumentBusyError: another writer took it.
    """
    mine = _held_by(tenant, claim.document_id, claim.token)
    await _set(session, mine, expires_at=utc_now() + timedelta(seconds=seconds))


async def release(session: AsyncSession, tenant: TenantId, claim: Claim) -> None:
    """Forget a claim, if it is still its holder's."""
    mine = _held_by(tenant, claim.document_id, claim.token)
    await session.execute(delete(PendingWriteRow).where(mine))


def of_document(
    table: Any, tenant: TenantId, document_id: str | None = None
) -> ColumnElement[bool]:
    """The tenant's rows, of one document if named."""
    own: ColumnElement[bool] = table.tenant_id == tenant
    return own if document_id is None else and_(own, table.document_id == document_id)


async def _take(
    session: AsyncSession, tenant: TenantId, document_id: str, left: PendingWriteRow | None
) -> Claim:
    token, expires = uuid.uuid4().hex, utc_now() + _HELD
    if left is None:
        session.add(
            PendingWriteRow(
                tenant_id=tenant, document_id=document_id, token=token, expires_at=expires
            )
        )
        await session.flush()
    else:
        theirs = _held_by(tenant, document_id, left.token)
        await _set(session, theirs, token=token, expires_at=expires)
    return Claim(document_id, token, None)


async def _versions(
    session: AsyncSession, tenant: TenantId, claim: Claim, left: PendingWriteRow | None
) -> set[str] | None:
    """What is committed, and what a writer before left behind."""
    if left is not None and left.versions is None:
        return None
    mine = of_document(DocumentRow, tenant, claim.document_id)
    committed = await session.scalar(select(DocumentRow.version).where(mine))
    known = set(left.versions or ()) if left is not None else set()
    return known if committed is None else known | {committed}


async def _note(
    session: AsyncSession, tenant: TenantId, claim: Claim, known: set[str] | None
) -> None:
    mine = _held_by(tenant, claim.document_id, claim.token)
    await _set(session, mine, versions=None if known is None else sorted(known))


async def check_not_deleted(session: AsyncSession, tenant: TenantId) -> None:
    """Raises TenantSuspendedError if the tenant is being deleted."""
    # Locked for reading: a deletion that begins now waits until the claim is there to be seen.
    query = select(TenantRow.state).where(TenantRow.id == tenant).with_for_update(read=True)
    if await session.scalar(query) in (DELETING, DELETED):
        raise TenantSuspendedError


async def _set(session: AsyncSession, mine: ColumnElement[bool], **values: Any) -> None:
    change = update(PendingWriteRow).where(mine).values(**values)
    change = change.execution_options(synchronize_session=False)
    changed = cast(CursorResult[Any], await session.execute(change))
    if not changed.rowcount:
        raise DocumentBusyError


def _held_by(tenant: TenantId, document_id: str, token: str) -> ColumnElement[bool]:
    return and_(of_document(PendingWriteRow, tenant, document_id), PendingWriteRow.token == token)
