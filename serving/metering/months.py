"""The calendar month that usage and quotas are counted in: UTC's."""

from __future__ import annotations

from datetime import UTC, datetime


def month_begin(now: datetime | None = None) -> datetime:
    """The first moment of the month of `now`, by default of this one."""
    at = now or datetime.now(UTC)
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month_end(now: datetime) -> datetime:
    """The first moment of the month after the one of `now`."""
    begin = month_begin(now)
    return begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
