"""Tenants whose limits a test sets."""

from __future__ import annotations

from isolation.access import UNRESTRICTED
from isolation.context import TenantContext
from isolation.mint import mint_tenant
from isolation.policy import TIERS, Limits, with_limits
from isolation.tenant_id import tenant_id


def limited_tenant(name: str, **limits: int | None) -> TenantContext:
    """With no limits but these."""
    own = Limits(requests_per_minute=None, tokens_per_minute=None, tokens_per_month=None)
    tier = with_limits(TIERS["business"], {**own, **limits})  # type: ignore[typeddict-item]
    return mint_tenant(tenant_id(name), tier=tier, credential_id="test", access=UNRESTRICTED)
