"""Tiers: what a tenant may occupy at once, and its weight when work is shared out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from isolation.errors import BulkheadError


class UnknownTierError(BulkheadError):
    """The tier's name is not one of `TIERS`."""

    code = "unknown_tier"
    status: ClassVar[int] = 400

    def __init__(self) -> None:
        super().__init__(f"Unknown tier. Choose one of: {', '.join(TIERS)}.")


@dataclass(frozen=True, slots=True)
class Tier:
    """Limits of one service tier.

    max_concurrency: requests in flight at once.
    max_context_tokens: prompt, passages and maximum output of one request together.
    weight: share of the engine relative to other tenants that are waiting.
    priority: engine priority, higher first.
    kv_reserved: fraction of the engine's KV pool that others cannot evict.
    kv_cap: fraction of it above which the tenant's own cache goes first.
    """

    name: str
    max_concurrency: int
    max_context_tokens: int
    weight: float
    priority: int
    kv_reserved: float
    kv_cap: float


TIERS = {
    tier.name: tier
    for tier in (
        Tier("enterprise", 50, 8_000, weight=4.0, priority=2, kv_reserved=0.02, kv_cap=0.5),
        Tier("business", 20, 4_000, weight=2.0, priority=1, kv_reserved=0.01, kv_cap=0.35),
        Tier("starter", 5, 2_000, weight=1.0, priority=0, kv_reserved=0.0, kv_cap=0.25),
    )
}


def tier(name: str) -> Tier:
    """The tier called `name`.

    Raises:
        UnknownTierError: there is none.
    """
    try:
        return TIERS[name]
    except KeyError:
        raise UnknownTierError from None
