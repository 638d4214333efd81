"""The only maker of contexts.

A protected module: import-linter lets only authenticators, the operator's entry and
`isolation.testing` import it (pyproject.toml, contract "Only authenticators mint").
"""

from __future__ import annotations

from typing import final

from isolation.access import Access
from isolation.context import OperatorContext, TenantContext
from isolation.policy import Tier
from isolation.tenant_id import TenantId


@final
class _MintedTenant(TenantContext):
    __slots__ = ("_access", "_credential_id", "_tenant_id", "_tier")

    def __init__(self, tenant_id: TenantId, tier: Tier, credential_id: str, access: Access) -> None:
        # The base forbids assignment, also to itself.
        object.__setattr__(self, "_tenant_id", tenant_id)
        object.__setattr__(self, "_tier", tier)
        object.__setattr__(self, "_credential_id", credential_id)
        object.__setattr__(self, "_access", access)

    @property
    def tenant_id(self) -> TenantId:
        value: TenantId = self._tenant_id  # type: ignore[attr-defined]
        return value

    @property
    def tier(self) -> Tier:
        value: Tier = self._tier  # type: ignore[attr-defined]
        return value

    @property
    def credential_id(self) -> str:
        value: str = self._credential_id  # type: ignore[attr-defined]
        return value

    @property
    def access(self) -> Access:
        value: Access = self._access  # type: ignore[attr-defined]
        return value

    def __repr__(self) -> str:
        return f"<TenantContext {self.tenant_id}>"


@final
class _MintedOperator(OperatorContext):
    __slots__ = ("_operator",)

    def __init__(self, operator: str) -> None:
        object.__setattr__(self, "_operator", operator)

    @property
    def operator(self) -> str:
        value: str = self._operator  # type: ignore[attr-defined]
        return value


def mint_tenant(
    tenant_id: TenantId, *, tier: Tier, credential_id: str, access: Access
) -> TenantContext:
    """A context for a tenant whose credential has just been verified."""
    return _MintedTenant(tenant_id, tier, credential_id, access)


def mint_operator(operator: str) -> OperatorContext:
    """A context for an operator whose credential has just been verified."""
    return _MintedOperator(operator)
