"""Conversation tokens: what an answer's placeholders stand for, for its tenant and nobody else."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import httpx

from evals.contract.checks import Checks
from evals.contract.conversation import chat_body
from evals.contract.target import Pair, Tenant, UnjudgedError

_NAME = "<EMAIL_ADDRESS_1>"


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer's conversation, and the value that its placeholder stands for."""

    conversation: str
    token: str
    secret: str


async def attack(pair: Pair, checks: Checks) -> None:
    """Every token opens its own conversation, for its own tenant. Nothing is asked of a target that
    keeps no placeholders."""
    kept = {tenant.name: [await _kept(tenant) for _ in range(2)] for tenant in (pair.a, pair.b)}
    for owner, other in pair.directions:
        first, second = kept[owner.name]
        (theirs, _) = kept[other.name]
        if first is None or second is None or theirs is None:
            return
        answer = await _resolve(owner, first.conversation, first.token)
        checks.control("its owner resolves a placeholder", first.secret in answer.text)
        attacks = {
            "the other tenant with the owner's token": (other, first.conversation, first.token),
            "the other tenant with its own token": (other, first.conversation, theirs.token),
            "the owner for another conversation": (owner, second.conversation, first.token),
            "the owner with a changed token": (owner, first.conversation, _changed(first.token)),
            "the owner with half a token": (owner, first.conversation, first.token[:-40]),
            "the owner without a token": (owner, first.conversation, ""),
        }
        for what, (asker, conversation, token) in attacks.items():
            answer = await _resolve(asker, conversation, token)
            checks.boundary(
                f"{what} is refused",
                answer.is_client_error and first.secret not in answer.text,
                f"status {answer.status_code}",
            )


async def _kept(tenant: Tenant) -> _Kept | None:
    secret = f"verify{secrets.token_hex(6)}"
    asked = f"My e-mail is {secret}@mail.example. Hello!"
    body = chat_body(asked, placeholders="kept")
    reply = await tenant.send("POST", "/v1/chat/completions", body)
    if reply.status_code == 400:
        return None
    try:
        found = reply.json()["conversation"]
        return _Kept(found["id"], found["token"], secret)
    except (ValueError, KeyError, TypeError) as error:
        raise UnjudgedError("an answer that keeps placeholders brings no token") from error


async def _resolve(tenant: Tenant, conversation: str, token: str) -> httpx.Response:
    body = {"conversation": conversation, "token": token, "placeholders": [_NAME]}
    return await tenant.send("POST", "/v1/placeholders", body)


def _changed(token: str) -> str:
    """Another character in the middle."""
    middle = len(token) // 2
    return token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
