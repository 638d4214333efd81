"""What a proof says, and how it is written: `v1.KEY_ID.CLAIMS.SIGNATURE`.

The signature (Ed25519, RFC 8032) covers everything before it, and is checked before anything of
the claims is read. One format, one algorithm: there is nothing to negotiate, so nothing to confuse.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import asdict, dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

HEADER = "x-bulkhead-proof"
CHAT_ROUTE = "POST /v1/chat/completions"
# Whom a key may speak for. `worker` is the engine's own: health checks and warm-up.
TENANT, OPERATOR, WORKER = "tenant", "operator", "worker"
_VERSION = "v1"
_DOMAIN = b"bulkhead engine proof\0"
_LONGEST = 4096


class MalformedProofError(ValueError):
    """It is not a proof, or its signature is not the key's."""


@dataclass(frozen=True, slots=True)
class KvPolicy:
    """What a tenant may hold of the engine's KV pool, as fractions of it.

    reserved: others cannot evict this much. cap: above it the tenant's own goes first (0: none).
    weight: its share of what is not reserved. scrub: slots are zeroed when released.
    """

    reserved: float = 0.0
    cap: float = 0.0
    weight: float = 1.0
    scrub: bool = True


@dataclass(frozen=True, slots=True)
class Claims:
    """One request that the engine may serve, once, until `expires` (Unix seconds).

    worker: the engine's id of this start. route: method and path with query. body: its SHA-256.
    namespace: the `cache_salt`. account: whose KV it is, the same under all its namespaces.
    """

    role: str
    worker: str
    route: str
    body: str
    request_id: str
    expires: float
    nonce: str
    namespace: str = ""
    adapter: str = ""
    account: str = ""
    priority: int = 0
    policy: KvPolicy = field(default_factory=KvPolicy)


def sign(claims: Claims, key_id: str, key: Ed25519PrivateKey) -> str:
    """The proof of `claims`."""
    payload = json.dumps(asdict(claims), separators=(",", ":")).encode()
    signed = f"{_VERSION}.{key_id}.{_encode(payload)}"
    return f"{signed}.{_encode(key.sign(_DOMAIN + signed.encode()))}"


def key_id_of(proof: str) -> str:
    """Which key the proof says it was signed by. Not yet believed.

    Raises:
        MalformedProofError: it has no such part.
    """
    parts = proof.split(".")
    if len(proof) > _LONGEST or len(parts) != 4 or parts[0] != _VERSION or not proof.isascii():
        raise MalformedProofError
    return parts[1]


def opened(proof: str, key: Ed25519PublicKey) -> Claims:
    """The claims, if `key` signed them.

    Raises:
        MalformedProofError: it did not, or what it signed are no claims.
    """
    signed, _, signature = proof.rpartition(".")
    try:
        key.verify(_decode(signature), _DOMAIN + signed.encode())
        values: dict[str, Any] = json.loads(_decode(signed.rpartition(".")[2]))
        return Claims(**values | {"policy": KvPolicy(**values["policy"])})
    except (InvalidSignature, ValueError, TypeError, KeyError) as error:
        raise MalformedProofError from error


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
