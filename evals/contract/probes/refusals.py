"""Refusals: what was sent is not quoted, since errors end in logs and crash reports."""

from __future__ import annotations

import secrets
from typing import Any

from evals.contract.checks import Checks
from evals.contract.conversation import chat_body
from evals.contract.target import Pair

_CHAT, _SEARCH, _DOCUMENTS = "/v1/chat/completions", "/v1/search", "/v1/documents"


async def probe(pair: Pair, checks: Checks) -> None:
    """A request that is refused does not come back in its refusal."""
    for tenant in (pair.a, pair.b):
        secret = f"verify-{secrets.token_hex(6)}"
        for name, path, body in _malformed(secret):
            reply = await tenant.send("POST", path, body)
            # Not for the key: whoever is not let in is told nothing of the body anyway.
            refused = reply.status_code in (400, 404, 422) and "code" in reply.text
            if checks.control(f"{name} is refused with a code", refused):
                checks.boundary(
                    f"the refusal of {name} quotes nothing",
                    secret not in reply.text and secret not in str(reply.headers),
                    "what was sent",
                )


def _malformed(secret: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Bodies with the secret as a value where no such value may stand."""
    return [
        ("a message that is no list", _CHAT, chat_body("Hello") | {"messages": secret}),
        ("an unknown role", _CHAT, chat_body("Hello") | {"messages": [{"role": secret}]}),
        ("a model that is not there", _CHAT, chat_body("Hello") | {"model": secret}),
        ("a number that is none", _CHAT, chat_body("Hello", max_tokens=secret)),
        ("a query that is no text", _SEARCH, {"query": {"text": secret}}),
        ("a document without text", _DOCUMENTS, {"id": 7, "title": secret}),
    ]
