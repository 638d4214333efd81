"""Prefix-cache namespaces: which requests may share KV of equal prefixes.

The namespace is opaque and stable, and knowing it opens nothing: SGLang writes it into log lines,
so it must not be a credential.

Those who trust each other with a prefix tree are a tenant's credentials with the same groups. No
two tenants are in one: what they share, the operator makes public by itself (decision 25).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType

from isolation.context import TenantContext

Namespace = NewType("Namespace", str)


@dataclass(frozen=True, slots=True)
class CacheScope:
    """What must agree, beside the tenant, before KV may be shared.

    adapter: the engine's name of one load of one version of it; empty for the base model.
    """

    model: str
    tokenizer: str
    adapter: str
    version: str


class NamespaceDeriver:
    """Derives namespaces with a key that never leaves the gateway."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("the namespace key needs at least 32 bytes")
        self._key = key

    def derive(self, ctx: TenantContext, scope: CacheScope) -> Namespace:
        """The namespace of this tenant in this scope: 64 hexadecimal digits.

        Prompts hold passages, so credentials that see different documents share no KV either.
        """
        access = ("all",) if ctx.access.unrestricted else ("groups", *sorted(ctx.access.groups))
        scoped = (scope.model, scope.tokenizer, scope.adapter, scope.version)
        parts = (ctx.tenant_id, *scoped, *access)
        return Namespace(hmac.new(self._key, length_prefixed(parts), hashlib.sha256).hexdigest())


def length_prefixed(parts: Sequence[str]) -> bytes:
    """Unambiguous concatenation: ("a", "bc") differs from ("ab", "c")."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(8, "big") + part for part in encoded)
