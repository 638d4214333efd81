"""The residency ledger's port: what adapters occupied in the engine, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from isolation.context import TenantContext


@dataclass(frozen=True, slots=True)
class ResidencyRecord:
    """`bytes` of weights that were in the engine for `seconds`, until `created_at`.

    `adapter` is the tenant's own name for it, `name@version`. A long stay is several records.
    """

    adapter: str
    bytes: int
    seconds: float
    created_at: datetime


class TenantResidencySink(Protocol):
    """One tenant's records."""

    async def record(self, record: ResidencyRecord) -> None:
        """Write a record."""


class ResidencySink(Protocol):
    """Everybody's records. Bind it first."""

    def of(self, ctx: TenantContext) -> TenantResidencySink:
        """The tenant's own sink."""
