"""Whose minute: one tenant's requests use its own limits up, and no other's.

Read from what OpenAI's clients read, `x-ratelimit-remaining-*`, so that nobody's limit has to be
reached. It is judged first: what the tenants asked in the minute before would leave it meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx

from evals.contract.checks import Checks
from evals.contract.conversation import chat_body
from evals.contract.target import Pair, Tenant, UnjudgedError

_CHATS = 4
# Longer than a minute.
_LOOKS, _STEP = 15, 5.0


@dataclass(frozen=True, slots=True)
class _Standing:
    """What an answer says: left of the minute's requests and tokens, of how many requests, and
    what the answer itself cost."""

    limit: int
    requests: int
    tokens: int
    cost: int


async def probe(pair: Pair, checks: Checks) -> None:
    """Chats lower what is left to their tenant, and what is left to the other by its own alone."""
    asked = 0
    for tenant in (pair.a, pair.b):
        looks = await _quiet(tenant, asked)
        if looks is None:
            checks.skip("answers say nothing of limits (x-ratelimit-remaining-requests, -tokens)")
            return
        asked += looks
    for tenant, other in pair.directions:
        before, first = await _ask(other), await _ask(tenant)
        for _ in range(_CHATS):
            last = await _ask(tenant)
        after = await _ask(other)
        fallen = _fallen(first, last)
        seen = f"{fallen.requests} requests and {fallen.tokens} tokens of {_CHATS} chats"
        counted = fallen.requests > 1 and fallen.tokens > first.cost
        if checks.control("a tenant's chats use its own minute", counted, seen):
            fallen = _fallen(before, after)
            checks.boundary(
                "a tenant's chats use nobody else's requests",
                fallen.requests <= 1,
                f"{fallen.requests} of the other's",
            )
            checks.boundary(
                "a tenant's chats use nobody else's tokens",
                fallen.tokens <= before.cost,
                f"{fallen.tokens} of the other's, whose own chat had {before.cost}",
            )


def _fallen(before: _Standing, after: _Standing) -> _Standing:
    requests, tokens = before.requests - after.requests, before.tokens - after.tokens
    return _Standing(before.limit, requests, tokens, before.cost)


async def _quiet(tenant: Tenant, before: int) -> int | None:
    """How often it was asked until nothing but what was asked here was in its minute; None: it
    tells nothing. before: of the other, whose chats are in the same minute where nothing holds.

    Raises:
        UnjudgedError: others use the tenant meanwhile.
    """
    for asked in range(1, _LOOKS + 1):
        standing = await _told(tenant)
        if standing is None:
            return None
        if standing.limit - standing.requests <= before + asked:
            return asked
        await asyncio.sleep(_STEP)
    raise UnjudgedError(f"{tenant.name} is in use: its minute does not become quiet")


async def _ask(tenant: Tenant) -> _Standing:
    standing = await _told(tenant)
    if standing is None:
        raise UnjudgedError("an answer says nothing of limits, and an earlier one did")
    return standing


async def _told(tenant: Tenant) -> _Standing | None:
    reply = await tenant.send("POST", "/v1/chat/completions", chat_body("Hello"))
    if reply.status_code != 200:
        raise UnjudgedError(f"POST /v1/chat/completions answers {reply.status_code}")
    return _read(reply)


def _read(reply: httpx.Response) -> _Standing | None:
    names = ("limit-requests", "remaining-requests", "remaining-tokens")
    told = [reply.headers.get(f"x-ratelimit-{name}") for name in names]
    try:
        cost = int(reply.json()["usage"]["total_tokens"])
        numbers = [int(number) for number in told if number is not None]
    except (ValueError, KeyError, TypeError) as error:
        raise UnjudgedError("an answer of the chat has not OpenAI's shape") from error
    if len(numbers) < len(names):
        return None
    limit, requests, tokens = numbers
    return _Standing(limit, requests, tokens, cost)
