"""The usage ledger's port: what one request consumed, written once. `serving/control` keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from isolation.context import TenantContext
from serving.engine_plugin.stopwatch import Cost


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One request. Tokens as the engine counted them, times in seconds.

    `finish_reason` is the engine's, or `cancelled` (the caller left) or `error`. `cost` is what the
    engine measured, None where it never began or could not say.
    """

    request_id: str
    key_id: str
    model: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    passages: int
    queue_seconds: float
    ttft_seconds: float | None
    total_seconds: float
    finish_reason: str
    created_at: datetime
    cost: Cost | None = None


class TenantUsageSink(Protocol):
    """One tenant's records."""

    async def record(self, record: UsageRecord) -> None:
        """Accept a record; it is written soon, and at the latest on close."""


class UsageSink(Protocol):
    """Everybody's records. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantUsageSink:
        """The tenant's own sink."""
