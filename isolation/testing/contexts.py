"""Contexts for tests, and for nothing else."""

from __future__ import annotations

from isolation.access import UNRESTRICTED, Access
from isolation.context import OperatorContext, TenantContext
from isolation.mint import mint_operator, mint_tenant
from isolation.policy import TIERS, Limits, with_limits
from isolation.tenant_id import tenant_id


def tenant_for_tests(
    name: str,
    *,
    tier: str = "business",
    access: Access = UNRESTRICTED,
    limits: Limits | None = None,
) -> TenantContext:
    """A minted tenant context without a credential behind it."""
    own = with_limits(TIERS[tier], limits)
    return mint_tenant(tenant_id(name), tier=own, credential_id=f"test-{name}", access=access)


def operator_for_tests() -> OperatorContext:
    """A minted operator context without a credential behind it."""
    return mint_operator("test")
