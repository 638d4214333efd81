"""From a presented key to a context. One of the few modules that may mint."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

from sqlalchemy import bindparam, select

from isolation.access import UNRESTRICTED, Access, restricted_to
from isolation.context import OperatorContext, TenantContext, require_operator
from isolation.errors import InvalidApiKeyError, TenantSuspendedError
from isolation.keys import matches, parse_key
from isolation.mint import mint_operator, mint_tenant
from isolation.policy import tier, with_limits
from isolation.tenant_id import TenantId
from serving.control.database import Database, utc_now
from serving.control.tables import ApiKeyRow, TenantRow
from serving.control.tenants import ACTIVE, PROBE_TENANT

# Made once: making a statement takes as long as asking it.
_KEY = (
    select(
        ApiKeyRow.digest,
        ApiKeyRow.groups,
        ApiKeyRow.revoked_at,
        ApiKeyRow.expires_at,
        TenantRow.id.label("tenant"),
        TenantRow.tier,
        TenantRow.state,
        TenantRow.limits,
    )
    .join(TenantRow, TenantRow.id == ApiKeyRow.tenant_id)
    .where(ApiKeyRow.key_id == bindparam("key_id"))
)


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
        async with self._database.looking() as connection:
            found = await connection.execute(_KEY, {"key_id": presented.key_id})
            key = found.one_or_none()
        genuine = matches(presented, None if key is None else key.digest)
        if not genuine or key is None or not _in_force(key.revoked_at, key.expires_at):
            raise InvalidApiKeyError
        if key.state != ACTIVE:
            raise TenantSuspendedError
        return mint_tenant(
            TenantId(key.tenant),
            tier=with_limits(tier(key.tier), key.limits),
            credential_id=presented.key_id,
            access=_access(key.groups),
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


def _access(groups: list[str] | None) -> Access:
    return UNRESTRICTED if groups is None else restricted_to(groups)


def _in_force(revoked_at: datetime | None, expires_at: datetime | None) -> bool:
    if revoked_at is not None:
        return False
    return expires_at is None or expires_at > utc_now()
