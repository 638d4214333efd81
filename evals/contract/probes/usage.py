"""Who pays: one tenant's requests stand on its own account, and on no other."""

from __future__ import annotations

import asyncio

from evals.contract.checks import Checks
from evals.contract.conversation import chat
from evals.contract.target import Pair, Tenant, UnjudgedError

_SECONDS, _STEP = 10.0, 0.25
_Account = dict[str, float]


async def probe(pair: Pair, checks: Checks) -> None:
    """A chat raises its tenant's usage; the other's stays. Both must be quiet meanwhile."""
    for tenant, other in pair.directions:
        before, quiet = await _account(tenant), await _account(other)
        await chat(tenant, "Hello")
        after = await _raised(tenant, before)
        seen = f"{before['requests']:g} requests before, {after['requests']:g} after"
        on_it = after["requests"] == before["requests"] + 1
        if checks.control("a chat is on its tenant's account", on_it, seen):
            now = await _account(other)
            changed = sorted(name for name in quiet | now if quiet.get(name) != now.get(name))
            checks.boundary(
                "a chat is on no other account", not changed, f"changed: {', '.join(changed)}"
            )


async def _raised(tenant: Tenant, before: _Account) -> _Account:
    """The account once it has risen, or after a while: ledgers may be a moment behind."""
    for _ in range(int(_SECONDS / _STEP)):
        if (now := await _account(tenant))["requests"] > before["requests"]:
            return now
        await asyncio.sleep(_STEP)
    return before


async def _account(tenant: Tenant) -> _Account:
    """All the sums of `GET /v1/usage`, by name."""
    reply = await tenant.send("GET", "/v1/usage")
    try:
        sums = {n: float(v) for n, v in reply.json().items() if isinstance(v, int | float)}
    except (ValueError, AttributeError):
        sums = {}
    if "requests" not in sums:
        raise UnjudgedError(f"GET /v1/usage answers {reply.status_code}, no requests")
    return sums
