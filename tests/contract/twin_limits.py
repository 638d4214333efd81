"""The twin platform's limits of a minute, which never ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

REQUESTS, TOKENS = 1_000, 100_000
# Of each chat: reserved, and used in the end.
_HELD, COST = 200, 10


class TwinLimits:
    """`has`: whether the twin has a fault."""

    def __init__(self, has: Callable[[str], bool]) -> None:
        self._has = has
        self._requests: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()

    def headers(self, tenant: str) -> dict[str, str]:
        """Of an answer, which is counted by that."""
        if self._has("limits are not told"):
            return {}
        requests = self._requests, self._whose("requests", tenant)
        tokens = self._tokens, self._whose("tokens", tenant)
        shown = []
        for (counted, whose), by in ((requests, 1), (tokens, COST)):
            shown.append(counted[whose])
            counted[whose] += 0 if self._has("limits are not counted") else by
        return {
            "x-ratelimit-limit-requests": str(REQUESTS),
            "x-ratelimit-remaining-requests": str(REQUESTS - 1 - shown[0]),
            "x-ratelimit-limit-tokens": str(TOKENS),
            "x-ratelimit-remaining-tokens": str(TOKENS - _HELD - shown[1]),
        }

    def _whose(self, what: str, tenant: str) -> str:
        return "everybody" if self._has(f"limits: {what} are everybody's") else tenant
