"""The operator in a tenant's place: with a key of that tenant, which ends with the work."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Protocol

from isolation.context import OperatorContext, TenantContext
from isolation.tenant_id import TenantId
from serving.control.tenants import TenantRegistry

_LONGEST = timedelta(days=1)


class Authenticator(Protocol):
    """The way to a tenant's context."""

    async def authenticate(self, bearer: str) -> TenantContext:
        """Raises InvalidApiKeyError or TenantSuspendedError."""


@asynccontextmanager
async def acting_as(
    operator: OperatorContext,
    tenant: TenantId,
    registry: TenantRegistry,
    authenticator: Authenticator,
) -> AsyncGenerator[TenantContext, None]:
    """The tenant's context, by the one way there is to it.

    Raises:
        TenantNotFoundError: there is none of this id.
        TenantSuspendedError: it is suspended.
    """
    key = await registry.issue_key(operator, tenant, expires_in=_LONGEST)
    try:
        yield await authenticator.authenticate(key.text)
    finally:
        await registry.revoke_key(operator, key.key_id)
