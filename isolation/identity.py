"""The port by which an application's own credentials become contexts.

The gateway knows tenants by API keys. Who embeds the library knows its users by sessions, tokens or
certificates: it registers one verifier that says whose a credential is, and every context of its
process comes from there. One of the few modules that may mint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from isolation.access import Access
from isolation.context import TenantContext
from isolation.errors import (
    AuthenticatorFailedError,
    InvalidCredentialError,
    RequestRefusedError,
)
from isolation.mint import mint_tenant
from isolation.policy import tier
from isolation.tenant_id import tenant_id

Credential = TypeVar("Credential")
_Verified = TypeVar("_Verified", contravariant=True)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a credential is. Nothing is defaulted: what a user may see is said each time.

    tier: its name, as in `isolation.policy.TIERS`. credential_id: safe to log; never the
    credential. access: `UNRESTRICTED`, or `restricted_to(groups)`.

    Raises:
        InvalidTenantIdError: the tenant's id is not acceptable.
        UnknownTierError: there is no such tier.
    """

    tenant: str
    tier: str
    credential_id: str
    access: Access

    def __post_init__(self) -> None:
        tenant_id(self.tenant)
        tier(self.tier)


class CredentialVerifier(Protocol[_Verified]):
    """What an application registers."""

    async def verify(self, credential: _Verified) -> Identity | None:
        """Whose the credential is; None if nobody's. It must be proven here: a name that the caller
        merely states is no credential."""


class RegisteredAuthenticator(Generic[Credential]):
    """Mints contexts for what the registered verifier vouches for, and for nothing else."""

    def __init__(self, verifier: CredentialVerifier[Credential]) -> None:
        self._verifier = verifier

    async def authenticate(self, credential: Credential) -> TenantContext:
        """The context of the credential's tenant.

        Raises:
            InvalidCredentialError: it is nobody's.
            RequestRefusedError: the verifier's own refusal, as it is.
            AuthenticatorFailedError: the verifier raised, or returned something else.
        """
        identity = await self._identity(credential)
        if identity is None:
            raise InvalidCredentialError
        # Truthy things, names and foreign classes are no identity.
        if type(identity) is not Identity or not isinstance(identity.access, Access):
            raise AuthenticatorFailedError
        return mint_tenant(
            tenant_id(identity.tenant),
            tier=tier(identity.tier),
            credential_id=identity.credential_id,
            access=identity.access,
        )

    async def _identity(self, credential: Credential) -> Identity | None:
        try:
            return await self._verifier.verify(credential)
        except RequestRefusedError:
            raise
        except Exception:
            raise AuthenticatorFailedError from None
