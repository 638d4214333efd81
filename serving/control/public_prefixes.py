"""What the operator shares with all tenants, as it is kept: each change with its line of the audit
trail, in one transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from isolation.context import OperatorContext, require_operator
from serving.control.database import Database, utc_now
from serving.control.errors import PublicPrefixNotFoundError, TooManyPublicPrefixesError
from serving.control.tables import PublicPrefixRow, PublicPrefixStepRow

MOST_PREFIXES = 16


@dataclass(frozen=True, slots=True)
class SharedText:
    """What chats have in common: the system text that callers send, and the tools that they offer,
    in OpenAI's shape. With neither, it is the platform's own system text alone."""

    system: str = ""
    tools: tuple[dict[str, Any], ...] = ()

    @property
    def digest(self) -> str:
        """Tells it from others in the audit trail."""
        return hashlib.sha256(json.dumps([self.system, list(self.tools)]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class KeptPrefix:
    """One of them, under its name."""

    name: str
    text: SharedText
    published_at: datetime


@dataclass(frozen=True, slots=True)
class PrefixStep:
    """A line of the audit trail. action: `published` or `withdrawn`."""

    at: datetime
    who: str
    action: str
    digest: str


class PublicPrefixRecords:
    """All public prefixes of the platform; only its operator has any."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, operator: OperatorContext, name: str, text: SharedText) -> KeptPrefix:
        """Keep a prefix, in place of the one of this name.

        Raises:
            TooManyPublicPrefixesError: there are as many as may be.
        """
        who = require_operator(operator, "public prefixes").operator
        row = PublicPrefixRow(
            name=name, system=text.system, tools=list(text.tools), published_at=utc_now()
        )
        async with self._database.transaction() as session:
            others = select(func.count()).where(PublicPrefixRow.name != name)
            if (await session.scalar(others) or 0) >= MOST_PREFIXES:
                raise TooManyPublicPrefixesError(MOST_PREFIXES)
            await session.merge(row)
            session.add(_step(name, who, "published", text))
        return _kept(row)

    async def remove(self, operator: OperatorContext, name: str) -> None:
        """Keep it no more.

        Raises:
            PublicPrefixNotFoundError: there is none of this name.
        """
        who = require_operator(operator, "public prefixes").operator
        async with self._database.transaction() as session:
            row = await _found(session, name)
            session.add(_step(name, who, "withdrawn", _kept(row).text))
            await session.delete(row)

    async def get(self, operator: OperatorContext, name: str) -> KeptPrefix:
        """One of them.

        Raises:
            PublicPrefixNotFoundError: there is none of this name.
        """
        require_operator(operator, "public prefixes")
        async with self._database.transaction() as session:
            return _kept(await _found(session, name))

    async def list(self, operator: OperatorContext) -> Sequence[KeptPrefix]:
        """All, by name."""
        require_operator(operator, "public prefixes")
        async with self._database.transaction() as session:
            rows = await session.scalars(select(PublicPrefixRow).order_by(PublicPrefixRow.name))
            return [_kept(row) for row in rows]

    async def steps(self, operator: OperatorContext, name: str) -> Sequence[PrefixStep]:
        """The audit trail of a name, the oldest line first; also of what was withdrawn."""
        require_operator(operator, "public prefixes")
        table = PublicPrefixStepRow
        async with self._database.transaction() as session:
            rows = await session.scalars(select(table).where(table.name == name).order_by(table.id))
            return [_line(row) for row in rows]


async def _found(session: AsyncSession, name: str) -> PublicPrefixRow:
    row = await session.get(PublicPrefixRow, name)
    if row is None:
        raise PublicPrefixNotFoundError
    return row


def _kept(row: PublicPrefixRow) -> KeptPrefix:
    text = SharedText(row.system, tuple(row.tools))
    return KeptPrefix(row.name, text, row.published_at.replace(tzinfo=UTC))


def _line(row: PublicPrefixStepRow) -> PrefixStep:
    return PrefixStep(row.at.replace(tzinfo=UTC), row.who, row.action, row.digest)


def _step(name: str, who: str, action: str, text: SharedText) -> PublicPrefixStepRow:
    return PublicPrefixStepRow(name=name, at=utc_now(), who=who, action=action, digest=text.digest)
