"""Tiers: what a tenant may occupy at once and use in a time, and its weight when work is shared
out. An operator may give a tenant limits of its own in place of its tier's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, TypedDict

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
    requests_per_minute, tokens_per_minute: of any 60 seconds; prompt and answer together.
    tokens_per_month: of a calendar month, UTC. None: no such limit.
    """

    name: str
    max_concurrency: int
    max_context_tokens: int
    weight: float
    priority: int
    kv_reserved: float
    kv_cap: float
    requests_per_minute: int | None
    tokens_per_minute: int | None
    tokens_per_month: int | None


TIERS = {
    tier.name: tier
    for tier in (
        Tier(
            "enterprise",
            max_concurrency=50,
            max_context_tokens=8_000,
            weight=4.0,
            priority=2,
            kv_reserved=0.02,
            kv_cap=0.5,
            requests_per_minute=10_000,
            tokens_per_minute=5_000_000,
            tokens_per_month=None,
        ),
        Tier(
            "business",
            max_concurrency=20,
            max_context_tokens=4_000,
            weight=2.0,
            priority=1,
            kv_reserved=0.01,
            kv_cap=0.35,
            requests_per_minute=3_000,
            tokens_per_minute=1_000_000,
            tokens_per_month=1_000_000_000,
        ),
        Tier(
            "starter",
            max_concurrency=5,
            max_context_tokens=2_000,
            weight=1.0,
            priority=0,
            kv_reserved=0.0,
            kv_cap=0.25,
            requests_per_minute=600,
            tokens_per_minute=200_000,
            tokens_per_month=50_000_000,
        ),
    )
}


class Limits(TypedDict, total=False):
    """What a tenant has in place of its tier's. None: no such limit."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    tokens_per_month: int | None


def tier(name: str) -> Tier:
    """The tier called `name`.

    Raises:
        UnknownTierError: there is none.
    """
    try:
        return TIERS[name]
    except KeyError:
        raise UnknownTierError from None


def limits_of(tier: Tier) -> Limits:
    """All that a tier has."""
    return Limits(
        requests_per_minute=tier.requests_per_minute,
        tokens_per_minute=tier.tokens_per_minute,
        tokens_per_month=tier.tokens_per_month,
    )


def with_limits(tier: Tier, limits: Limits | None) -> Tier:
    """The tier as a tenant with limits of its own has it."""
    return replace(tier, **limits) if limits else tier
