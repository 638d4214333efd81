"""Who holds how much of the KV pool, and who gives up first. No tensors here, so it runs anywhere.

An account is one tenant, under all its namespaces. It holds `resident` tokens of the prefix cache,
of which `locked` are in use by its running requests and the rest can be evicted. Who gives up:

1. who is above its cap, the furthest above first;
2. else who holds most beyond its reservation, relative to its weight (weighted max-min fairness);
3. never what is reserved, and never what is locked.

All is O(log n) in the number of accounts: heaps with lazily dropped entries.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from serving.engine_plugin.claims import KvPolicy

# Reservations together get at most half of the pool, however many were promised: the rest must be
# enough for any one request to run. Counted in millionths, so that sums are exact.
_WHOLE = 1_000_000


@dataclass(slots=True)
class Account:
    """One tenant's tokens.

    surplus: tokens that can be evicted from it for anybody. version: of its entry in the heap.
    """

    name: str
    policy: KvPolicy = field(default_factory=KvPolicy)
    resident: int = 0
    locked: int = 0
    evicted: int = 0
    surplus: int = 0
    version: int = 0

    @property
    def evictable(self) -> int:
        """Resident tokens that no running request uses."""
        return self.resident - self.locked


class Accounts:
    """All accounts of one pool of `tokens`."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._accounts: dict[str, Account] = {}
        # Negated urgency first: (over its cap, load), version, name.
        self._heap: list[tuple[tuple[float, float], int, str]] = []
        self._promised = 0
        self._reclaimable = 0

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def __len__(self) -> int:
        return len(self._accounts)

    def get(self, name: str) -> Account | None:
        """The account called `name`, if it is open."""
        return self._accounts.get(name)

    def open(self, name: str, policy: KvPolicy) -> Account:
        """The account, with this policy from now on. What it holds stays as it is."""
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account(name, KvPolicy(reserved=0.0))
        if account.policy != policy:
            more = _millionths(policy) - _millionths(account.policy)
            account.policy = policy
            self._promise(more)
            self._changed(account)
        return account

    def close(self, name: str) -> None:
        """Forget an account that holds nothing."""
        account = self._accounts[name]
        if account.resident:
            raise ValueError("an account that holds tokens cannot be closed")
        del self._accounts[name]
        self._promise(-_millionths(account.policy))

    def change(self, account: Account, *, resident: int = 0, locked: int = 0) -> None:
        """Tokens came (positive) or went (negative)."""
        account.resident += resident
        account.locked += locked
        if not 0 <= account.locked <= account.resident:
            raise ValueError("an account cannot lock what it does not hold")
        self._changed(account)

    def clear(self) -> None:
        """Nobody holds anything any more."""
        for account in self._accounts.values():
            account.resident = account.locked = 0
            self._changed(account)

    def reserved(self, account: Account) -> int:
        """Tokens that others cannot evict from it; scaled down where too much was promised."""
        return _millionths(account.policy) * self.tokens // self._divisor()

    def reserved_in_all(self) -> int:
        """Tokens that are reserved for anybody."""
        return self._promised * self.tokens // self._divisor()

    def reclaimable(self) -> int:
        """How many tokens can be evicted for anybody."""
        return self._reclaimable

    def excess(self, account: Account) -> int:
        """Tokens above its cap."""
        cap = account.policy.cap
        return max(0, account.resident - int(cap * self.tokens)) if cap > 0 else 0

    def next_to_give(self) -> Account | None:
        """The account that gives up next, None if nobody can.

        Accounts that cannot give are passed over, and come back when they change.
        """
        while self._heap:
            _, version, name = self._heap[0]
            account = self._accounts.get(name)
            if account is None or account.version != version or not account.surplus:
                heapq.heappop(self._heap)
                continue
            return account
        return None

    def pass_over(self, account: Account) -> None:
        """It cannot give now, whatever the numbers say; it is asked again when they change."""
        account.version += 1

    def _divisor(self) -> int:
        return max(_WHOLE, 2 * self._promised)

    def _promise(self, more: int) -> None:
        before = self._divisor()
        self._promised += more
        if self._divisor() != before:
            for account in self._accounts.values():
                self._changed(account)

    def _changed(self, account: Account) -> None:
        account.version += 1
        spare = account.resident - self.reserved(account)
        surplus = max(0, min(account.evictable, spare))
        self._reclaimable += surplus - account.surplus
        account.surplus = surplus
        if not surplus:
            return
        weight = max(account.policy.weight, 1e-6)
        load = (account.resident - account.policy.reserved * self.tokens) / weight
        entry = ((-float(self.excess(account)), -load), account.version, account.name)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 64 + 8 * len(self._accounts):
            self._compact()

    def _compact(self) -> None:
        current = {account.name: account.version for account in self._accounts.values()}
        self._heap = [entry for entry in self._heap if current.get(entry[2]) == entry[1]]
        heapq.heapify(self._heap)


def _millionths(policy: KvPolicy) -> int:
    return round(policy.reserved * _WHOLE)
