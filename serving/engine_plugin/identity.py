"""Who this worker is: an id of this start, and a key of its own for what no caller asks for.

The process that starts the worker makes both and keeps the private half; SGLang's other processes
have the public half in their environment, and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from serving.engine_plugin.claims import WORKER, Claims, KvPolicy, sign
from serving.engine_plugin.trust import Trust, TrustedKey, key_id, public_key

_ID, _OWN, _TRUST = (
    "BULKHEAD_ENGINE_WORKER",
    "BULKHEAD_ENGINE_OWN_KEY",
    "BULKHEAD_ENGINE_TRUST",
)
# Where health checks and the warm-up keep their KV: no gateway derives this namespace.
OWN_NAMESPACE = hashlib.sha256(b"bulkhead engine's own").hexdigest()
OWN_ACCOUNT = "engine"
# Prefixes that the operator shares with everybody. Only the engine itself writes there.
PUBLIC_NAMESPACE = hashlib.sha256(b"bulkhead public prefixes").hexdigest()
PUBLIC_ACCOUNT = "public"


@dataclass(slots=True)
class Identity:
    """This worker, as each of its processes knows it. Only the first one can sign."""

    worker: str
    trust: Trust
    _own: Ed25519PrivateKey | None = field(default=None, repr=False)

    def own_proof(self, request_id: str, namespace: str = OWN_NAMESPACE) -> str:
        """A proof for a request that the engine makes to itself, in one of its own namespaces."""
        if self._own is None:
            raise RuntimeError("only the process that started the worker signs for it")
        claims = Claims(
            role=WORKER,
            worker=self.worker,
            route="",
            body="",
            request_id=request_id,
            expires=time.time() + 60,
            nonce=secrets.token_hex(16),
            namespace=namespace,
            account=OWN_ACCOUNT if namespace == OWN_NAMESPACE else PUBLIC_ACCOUNT,
            policy=KvPolicy(weight=0.1),
        )
        return sign(claims, key_id(self._own.public_key()), self._own)


_identity: Identity | None = None


def become(trust_file: str) -> Identity:
    """Make this process the first one of a new worker."""
    global _identity
    own = Ed25519PrivateKey.generate()
    os.environ[_ID] = secrets.token_hex(16)
    os.environ[_OWN] = b64encode(own.public_key().public_bytes_raw()).decode()
    os.environ[_TRUST] = trust_file
    _identity = _from_environment()
    _identity._own = own
    os.register_at_fork(after_in_child=_forget_own)
    return _identity


def _forget_own() -> None:
    """The private half stays in the process that made it."""
    if _identity is not None:
        _identity._own = None


def identity() -> Identity:
    """This worker.

    Raises:
        KeyError: it was not started by Bulkhead, so nobody said whom to trust.
    """
    global _identity
    if _identity is None:
        _identity = _from_environment()
    return _identity


def _from_environment() -> Identity:
    public = public_key(os.environ[_OWN])
    own = {key_id(public): TrustedKey(public, frozenset((WORKER,)))}
    return Identity(os.environ[_ID], Trust(Path(os.environ[_TRUST]), own))
