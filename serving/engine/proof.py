"""The gateway's side of proofs: it signs what it asks of an engine."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from isolation.context import TenantContext, require_tenant
from isolation.namespaces import Namespace
from isolation.tenant_id import TenantId
from serving.engine_plugin.claims import CHAT_ROUTE, OPERATOR, TENANT, Claims, KvPolicy, sign
from serving.engine_plugin.trust import TrustedKey, key_id, trust_document
from serving.key_files import derived_key
from serving.settings import Settings

_LIFE_SECONDS = 60.0


class ProofSigner:
    """Signs with one key. Both secrets are of 32 bytes and never leave the gateway.

    seed: the private key. account_key: names the tenants' KV accounts, and outlives rotations.
    """

    def __init__(self, seed: bytes, account_key: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._key_id = key_id(self.public)
        self._account_key = account_key

    @property
    def public(self) -> Ed25519PublicKey:
        """What an engine needs to believe this signer."""
        return self._key.public_key()

    def trust(self) -> str:
        """The content of a trust file with this signer alone, for tenants and for the operator."""
        return trust_document([self.trusted()])

    def trusted(self) -> TrustedKey:
        """This signer as an entry of a trust file."""
        return TrustedKey(self.public, frozenset((TENANT, OPERATOR)))

    def account(self, tenant: TenantId) -> str:
        """The tenant's KV account: opaque, stable, the same under all its namespaces."""
        return hmac.new(self._account_key, tenant.encode(), hashlib.sha256).hexdigest()[:32]

    def for_tenant(
        self,
        ctx: TenantContext,
        namespace: Namespace,
        *,
        worker: str,
        request_id: str,
        adapter: str,
        policy: KvPolicy,
        body: bytes,
    ) -> str:
        """The proof of one generation."""
        require_tenant(ctx, "a proof")
        return self._sign(
            Claims(
                role=TENANT,
                worker=worker,
                route=CHAT_ROUTE,
                body=hashlib.sha256(body).hexdigest(),
                request_id=request_id,
                expires=time.time() + _LIFE_SECONDS,
                nonce=secrets.token_hex(16),
                namespace=namespace,
                adapter=adapter,
                account=self.account(ctx.tenant_id),
                priority=ctx.tier.priority,
                policy=policy,
            )
        )

    def for_operator(self, route: str, *, worker: str, body: bytes = b"") -> str:
        """The proof of one request to another route, as `GET /server_info`."""
        return self._sign(
            Claims(
                role=OPERATOR,
                worker=worker,
                route=route,
                body=hashlib.sha256(body).hexdigest(),
                request_id="",
                expires=time.time() + _LIFE_SECONDS,
                nonce=secrets.token_hex(16),
            )
        )

    def _sign(self, claims: Claims) -> str:
        return sign(claims, self._key_id, self._key)


def signer_of(settings: Settings) -> ProofSigner:
    """This gateway's signer. The setting `engine_key_number` rotates its key."""
    return ProofSigner(
        derived_key(settings, f"engine proof {settings.engine_key_number}"),
        derived_key(settings, "engine account"),
    )
