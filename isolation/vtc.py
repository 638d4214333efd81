"""Virtual token counters: who is served next.

Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024: algorithm 2, with the weighted
variant of section 4.3. A plain data structure; it knows no clock and no event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

# The paper's prices: an output token costs twice an input token.
INPUT_PRICE, OUTPUT_PRICE = 1.0, 2.0


class VirtualTokenCounters(Generic[Item]):
    """Waiting items of tenants, served in the order of least service received."""

    def __init__(self) -> None:
        self._counters: dict[str, float] = {}
        self._waiting: dict[str, deque[Item]] = {}
        self._running: dict[str, int] = {}
        self._floor = 0.0

    def __len__(self) -> int:
        return sum(len(line) for line in self._waiting.values())

    def counter(self, tenant: str) -> float:
        """The tenant's virtual counter, in weighted tokens."""
        return self._counters.get(tenant, 0.0)

    def add(self, tenant: str, item: Item) -> None:
        """Queue an item behind the tenant's earlier ones."""
        if tenant not in self._waiting:
            self._lift(tenant)
            self._waiting[tenant] = deque()
        self._waiting[tenant].append(item)

    def discard(self, tenant: str, item: Item) -> None:
        """Take an item out, if it still waits."""
        line = self._waiting.get(tenant)
        if line is not None and item in line:
            line.remove(item)
            self._forget_empty(tenant)

    def pop(self) -> tuple[str, Item]:
        """The oldest item of the tenant with the least counter, which now runs.

        Raises:
            IndexError: nothing waits.
        """
        if not self._waiting:
            raise IndexError("nothing waits")
        tenant = min(self._waiting, key=lambda name: self._counters[name])
        self._floor = self._counters[tenant]
        item = self._waiting[tenant].popleft()
        self._running[tenant] = self._running.get(tenant, 0) + 1
        self._forget_empty(tenant)
        return tenant, item

    def charge(self, tenant: str, *, weight: float, input_tokens: int, output_tokens: int) -> None:
        """Account service: tokens at their price, over the tenant's weight."""
        service = INPUT_PRICE * input_tokens + OUTPUT_PRICE * output_tokens
        self._counters[tenant] = self.counter(tenant) + service / weight

    def done(self, tenant: str) -> None:
        """An item of the tenant runs no more."""
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
        self._prune()

    def _lift(self, tenant: str) -> None:
        """Who was away does not come back with saved-up credit (the paper's counter lift)."""
        active = [self._counters[name] for name in self._waiting]
        level = min(active) if active else self._floor
        self._counters[tenant] = max(self.counter(tenant), level)

    def _forget_empty(self, tenant: str) -> None:
        if not self._waiting[tenant]:
            del self._waiting[tenant]

    def _prune(self) -> None:
        """Counters at or below the floor say nothing that the lift would not: drop them."""
        for tenant in [name for name, value in self._counters.items() if value <= self._floor]:
            if tenant not in self._waiting and tenant not in self._running:
                del self._counters[tenant]
