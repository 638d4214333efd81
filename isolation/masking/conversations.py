"""Conversation tokens: how a downstream system resolves the placeholders of one answer.

No table outlives a request. So what an answer's placeholders stand for goes with the caller, in a
token that only the platform opens: AES-256-GCM under a key derived from the tenant's own, which
authenticates what it seals. It names its conversation and when it ends.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from isolation.context import TenantContext, require_tenant, require_unrestricted
from isolation.errors import RequestRefusedError
from isolation.sealing import SealError, TenantCipher

_MARK = "ct1."
_SECONDS = 900
# More than an answer's placeholders need; what is longer is not looked at.
_LONGEST = 1_000_000


class InvalidConversationTokenError(RequestRefusedError):
    """Forged, damaged, another tenant's, or of another conversation: one answer for all."""

    code = "invalid_conversation_token"
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "The conversation token is not valid for this conversation.", param="token"
        )


class ConversationTokenExpiredError(RequestRefusedError):
    """It was valid."""

    code = "conversation_token_expired"
    status = 403

    def __init__(self) -> None:
        super().__init__("The conversation token has expired. Ask again.", param="token")


class PlaceholderNotFoundError(RequestRefusedError):
    """The conversation has no such placeholder."""

    code = "placeholder_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__(
            "The conversation has no such placeholder; nothing was resolved.", param="placeholders"
        )


class Keys(Protocol):
    """The tenants' keys, for this purpose alone."""

    async def cipher(self, ctx: TenantContext) -> TenantCipher:
        """The tenant's own; made at its first use."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a caller gets with an answer that has placeholders. expires_at: Unix time, seconds."""

    id: str
    token: str
    expires_at: int

    def __repr__(self) -> str:
        return f"Conversation(id={self.id!r})"


class ConversationTokens:
    """Issues tokens, and resolves what they hold."""

    def __init__(self, keys: Keys, *, seconds: int = _SECONDS) -> None:
        self._keys = keys
        self._seconds = seconds

    async def issue(
        self, ctx: TenantContext, conversation: str, values: Mapping[str, str]
    ) -> Conversation:
        """A token for the placeholders of one answer."""
        cipher = await self._keys.cipher(require_tenant(ctx, "a conversation token"))
        expires = int(time.time()) + self._seconds
        sealed = cipher.seal_bytes(json.dumps([conversation, expires, dict(values)]).encode())
        return Conversation(conversation, _written(sealed), expires)

    async def resolve(
        self, ctx: TenantContext, conversation: str, token: str, names: Sequence[str]
    ) -> list[str]:
        """What the placeholders stand for, in their order; all of them, or an error.

        Raises:
            RestrictedKeyError: the key is restricted to groups.
            InvalidConversationTokenError: the token is not this tenant's and conversation's.
            ConversationTokenExpiredError: it was.
            PlaceholderNotFoundError: the conversation has not all of them.
        """
        require_unrestricted(require_tenant(ctx, "a conversation token"))
        named, expires, values = _opened(await self._keys.cipher(ctx), token)
        if named != conversation:
            raise InvalidConversationTokenError
        if time.time() >= expires:
            raise ConversationTokenExpiredError
        if not values.keys() >= set(names):
            raise PlaceholderNotFoundError
        return [values[name] for name in names]


def _written(sealed: bytes) -> str:
    return _MARK + base64.urlsafe_b64encode(sealed).decode()


def _opened(cipher: TenantCipher, token: str) -> tuple[str, int, dict[str, Any]]:
    if len(token) > _LONGEST or not token.startswith(_MARK):
        raise InvalidConversationTokenError
    try:
        sealed = base64.b64decode(token[len(_MARK) :], altchars=b"-_", validate=True)
        if _written(sealed) != token:
            raise InvalidConversationTokenError  # base64 writes some bytes in several ways
        conversation, expires, values = json.loads(cipher.open_bytes(sealed))
    except (SealError, binascii.Error, ValueError):
        raise InvalidConversationTokenError from None
    return conversation, expires, values
