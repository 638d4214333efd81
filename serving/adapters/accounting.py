"""What an adapter's place costs its tenant: bytes, and seconds since it was accounted for last."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog

from serving.adapters.resident import Resident
from serving.metering.residency import ResidencyRecord, ResidencySink

_log = structlog.get_logger(__name__)


async def account(resident: Resident, sink: ResidencySink) -> None:
    """Put it on its tenant's account. What fails is accounted for with the next time."""
    if resident.loaded_at is None:
        return
    now, before = asyncio.get_running_loop().time(), resident.accounted_at
    resident.accounted_at, record = now, resident.record
    stay = ResidencyRecord(
        f"{record.name}@{record.version}", resident.size, now - before, datetime.now(UTC)
    )
    try:
        await sink.of(resident.ctx).record(stay)
    except Exception as error:
        # The database is away: what stays is accounted for later, and what must leave leaves.
        resident.accounted_at = before
        _log.warning("adapter.not_accounted", error=type(error).__name__)
