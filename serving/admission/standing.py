"""How a tenant stands against its limits, as OpenAI's clients read it from headers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from isolation.policy import Tier


@dataclass(frozen=True, slots=True)
class Standing:
    """Of the last 60 seconds, this request among them where it was let in.

    tokens: used, and held by requests in flight. reset_seconds: until all of them are past.
    """

    requests: int
    tokens: int
    reset_seconds: float

    def headers(self, tier: Tier) -> dict[str, str]:
        """`x-ratelimit-*`, of the limits that the tier has."""
        result: dict[str, str] = {}
        for name, limit, used in (
            ("requests", tier.requests_per_minute, self.requests),
            ("tokens", tier.tokens_per_minute, self.tokens),
        ):
            if limit is not None:
                result[f"x-ratelimit-limit-{name}"] = str(limit)
                result[f"x-ratelimit-remaining-{name}"] = str(max(limit - used, 0))
                result[f"x-ratelimit-reset-{name}"] = f"{math.ceil(self.reset_seconds)}s"
        return result
