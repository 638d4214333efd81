"""Which version of an adapter a conversation gets while a rollout runs.

A keyed hash decides, so that a conversation stays with its version over requests, gateways and
restarts, nothing is stored of it, and nobody outside can choose a conversation's arm.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum

from isolation.context import TenantContext, require_tenant

_WHOLE = 2**64


class Arm(StrEnum):
    """The version that serves, and the one that is tried."""

    CONTROL = "control"
    CANARY = "canary"


class Assigner:
    """Assigns conversations to arms. `key`: 32 bytes that all gateways have alike."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def arm(self, ctx: TenantContext, rollout_id: str, conversation: str, percent: float) -> Arm:
        """The arm of a conversation, of which `percent` go to the canary.

        A greater `percent` moves conversations from control to canary, and none back.
        """
        tenant = require_tenant(ctx, "a rollout's arm").tenant_id
        digest = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (tenant, rollout_id, conversation):
            encoded = part.encode("utf-8", "surrogatepass")
            # With its length: ("a", "bc") is not ("ab", "c").
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
        place = int.from_bytes(digest.digest()[:8], "big")
        return Arm.CANARY if place * 100 < percent * _WHOLE else Arm.CONTROL
