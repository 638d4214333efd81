"""Who pays: one tenant's requests stand on its own account, and on no other."""

from __future__ import annotations

import asyncio

from evals.contract.checks import Checks
from evals.contract.conversation import chat
from evals.contract.target import Pair, Tenant, UnjudgedError

_SECONDS, _STEP = 10.0, 0.25


async def probe(pair: Pair, checks: Checks) -> None:
    """A chat raises its tenant's usage; the other's stays. Both must be quiet meanwhile."""
    for tenant, other in pair.directions:
        before, quiet = await _requests(tenant), await _requests(other)
        await chat(tenant, "Hello")
        after = await _raised(tenant, before)
        seen = f"{before} requests before, {after} after"
        if checks.control("a chat is on its tenant's account", after == before + 1, seen):
            now = await _requests(other)
            checks.boundary(
                "a chat is on no other account", now == quiet, f"{now - quiet} more requests"
            )


async def _raised(tenant: Tenant, before: int) -> int:
    """The count once it has risen, or after a while: ledgers may be a moment behind."""
    for _ in range(int(_SECONDS / _STEP)):
        if (now := await _requests(tenant)) > before:
            return now
        await asyncio.sleep(_STEP)
    return before


async def _requests(tenant: Tenant) -> int:
    reply = await tenant.send("GET", "/v1/usage")
    try:
        return int(reply.json()["requests"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnjudgedError(f"GET /v1/usage answers {reply.status_code}, no requests") from error
