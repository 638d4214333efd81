"""Tenants whose limits a test sets."""

from __future__ import annotations

from isolation.context import TenantContext
from isolation.policy import Limits
from isolation.testing.contexts import tenant_for_tests


def limited_tenant(
    name: str,
    *,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    tokens_per_month: int | None = None,
) -> TenantContext:
    """With no limits but these."""
    limits = Limits(
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        tokens_per_month=tokens_per_month,
    )
    return tenant_for_tests(name, limits=limits)
