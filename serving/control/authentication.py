"""From a presented key to a context. One of the few modules that may mint."""

from __future__ import annotations

import hashlib
import hmac

from sqlalchemy import select

from isolation.access import UNRESTRICTED, Access, restricted_to
from isolation.context import OperatorContext, TenantContext, require_operator
from isolation.errors import InvalidApiKeyError, TenantSuspendedError
from isolation.keys import matches, parse_key
from isolation.mint import mint_operator, mint_tenant
from isolation.policy import tier
from isolation.tenant_id import TenantId
from serving.control.database import Database, utc_now
from serving.control.tables import ApiKeyRow, TenantRow
from serving.control.tenants import ACTIVE, PROBE_TENANT


class ApiKeyAuthenticator:
    """Authenticates tenants by API key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def authenticate(self, bearer: str) -> TenantContext:
        """The context of the key's tenant. Every refused key costs one look-up and one compare.

        Raises:
            InvalidApiKeyError: unknown, malformed, expired or revoked.
            TenantSuspendedError: the key is valid and its tenant suspended.
        """
        presented = parse_key(bearer)
        query = (
            select(ApiKeyRow, TenantRow)
            .join(TenantRow, TenantRow.id == ApiKeyRow.tenant_id)
            .where(ApiKeyRow.key_id == presented.key_id)
        )
        async with self._database.transaction() as session:
            found = (await session.execute(query)).one_or_none()
        key, tenant = found if found is not None else (None, None)
        genuine = matches(presented, key.digest if key else None)
        if not genuine or key is None or tenant is None or not _in_force(key):
            raise InvalidApiKeyError
        if tenant.state != ACTIVE:
            raise TenantSuspendedError
        return mint_tenant(
            TenantId(tenant.id),
            tier=tier(tenant.tier),
            credential_id=key.key_id,
            access=_access(key),
        )


class OperatorKeyAuthenticator:
    """Authenticates the operator by the platform's admin key."""

    def __init__(self, admin_key: str) -> None:
        self._digest = hashlib.sha256(admin_key.encode()).digest()

    def authenticate(self, bearer: str) -> OperatorContext:
        """The operator's context.

        Raises:
            InvalidApiKeyError: it is not the admin key.
        """
        presented = hashlib.sha256(bearer.encode()).digest()
        if not hmac.compare_digest(presented, self._digest):
            raise InvalidApiKeyError
        return mint_operator("admin-key")


def probe_tenant(operator: OperatorContext) -> TenantContext:
    """The platform's own tenant for probing engines: it has no data, and its id cannot be added."""
    require_operator(operator, "the probe's tenant")
    return mint_tenant(
        PROBE_TENANT, tier=tier("starter"), credential_id="probe", access=UNRESTRICTED
    )


def maintained_tenant(operator: OperatorContext, tenant: TenantId) -> TenantContext:
    """A tenant as the operator's maintenance of the whole store needs it, which goes through all
    tenants one by one; no answer to anybody comes of it."""
    require_operator(operator, "maintaining a tenant's documents")
    return mint_tenant(
        tenant, tier=tier("starter"), credential_id="maintenance", access=UNRESTRICTED
    )


def _access(key: ApiKeyRow) -> Access:
    return UNRESTRICTED if key.groups is None else restricted_to(key.groups)


def _in_force(key: ApiKeyRow) -> bool:
    if key.revoked_at is not None:
        return False
    return key.expires_at is None or key.expires_at > utc_now()
