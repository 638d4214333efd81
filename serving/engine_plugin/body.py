"""A tenant's body, read strictly: what is signed is what SGLang will read, and nothing besides.

The digest binds the body already. This is the line behind it: a gateway that let a caller's
parameter through would sign it too, so the engine accepts no control that the proof does not name.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from serving.engine_plugin.claims import Claims
from serving.engine_plugin.verifier import ProofRefusedError

_ALLOWED = frozenset(
    [
        "model",
        "messages",
        "max_tokens",
        "min_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "stop",
        "seed",
        "ignore_eos",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "stream",
        "stream_options",
        "cache_salt",
        "rid",
        "priority",
        "lora_path",
    ]
)
_MESSAGE = frozenset(("role", "content", "name"))


class InvalidBodyError(ProofRefusedError):
    """The body is not one that a gateway sends."""

    def __init__(self) -> None:
        super().__init__("body_refused")


def check_body(body: bytes, claims: Claims) -> None:
    """Refuse a body that says anything else than its proof.

    Raises:
        InvalidBodyError: not JSON, a key twice, or a parameter that no gateway sends.
        ProofRefusedError: namespace, request id, adapter or priority differ from the proof's.
    """
    request = _strict_json(body)
    if not _ALLOWED.issuperset(request) or not _plain_messages(request.get("messages")):
        raise InvalidBodyError
    model = request.get("model")
    if not isinstance(model, str) or ":" in model:  # SGLang takes "base:adapter" for an adapter
        raise InvalidBodyError
    said = (
        request.get("cache_salt"),
        request.get("rid"),
        request.get("lora_path", ""),
        request.get("priority", 0),
    )
    if said != (claims.namespace, claims.request_id, claims.adapter, claims.priority):
        raise ProofRefusedError("proof_inconsistent")


def _strict_json(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body, object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InvalidBodyError from None
    if not isinstance(request, dict):
        raise InvalidBodyError
    return request


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise InvalidBodyError
    return values


def _refuse(constant: str) -> NoReturn:
    raise InvalidBodyError


def _plain_messages(messages: object) -> bool:
    """Text alone: another part's URL would be fetched by the engine."""
    return isinstance(messages, list) and all(
        isinstance(turn, dict)
        and _MESSAGE.issuperset(turn)
        and all(isinstance(value, str) for value in turn.values())
        for turn in messages
    )
