"""Who holds how much of the KV pool, and who gives up first. No tensors here, so it runs anywhere.

An account is one tenant, under all its namespaces. It holds `resident` tokens of the prefix cache,
of which `locked` are in use by its running requests and the rest can be evicted. What is reserved
stays; the rest of the pool is shared by weight among the accounts that were used lately. Who gives:

1. who is above its cap, the furthest above first;
2. else, of those above their share, who was used least recently, down to its share;
3. else who holds most for its weight.

So a flood takes from itself, and among those that keep to their shares the cache is as good as one
that knows no tenants. All is O(log n) in the number of accounts: heaps whose entries are checked
when they come up.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from serving.engine_plugin.claims import KvPolicy

# An account that was not used for so long has no share until it is used again.
IDLE_SECONDS = 300.0
# Reservations together get at most half of the pool, however many were promised: the rest must be
# enough for any one request to run. Counted in millionths, so that sums are exact.
_WHOLE = 1_000_000

_Heap = list[tuple[float, int, str]]


@dataclass(slots=True)
class Account:
    """One tenant's tokens.

    surplus: tokens that can be evicted from it for anybody. shares: whether it was used lately.
    version: of its current entry in the heaps.
    """

    name: str
    policy: KvPolicy = field(default_factory=KvPolicy)
    used: float = 0.0
    shares: bool = True
    resident: int = 0
    locked: int = 0
    evicted: int = 0
    surplus: int = 0
    version: int = 0

    @property
    def evictable(self) -> int:
        """Resident tokens that no running request uses."""
        return self.resident - self.locked

    @property
    def weight(self) -> int:
        """In millionths; never nothing."""
        return max(1, round(self.policy.weight * _WHOLE))


class Accounts:
    """All accounts of one pool of `tokens`."""

    def __init__(self, tokens: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.tokens = tokens
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        self._promised = 0
        self._weights = 0
        self._reclaimable = 0
        # Of all accounts together: one that is closed and opened anew meets no entry of its former
        # self.
        self._versions = itertools.count(1)
        # Each account that can give stands in one of these, with its current version.
        self._above_cap: _Heap = []
        self._above_share: _Heap = []
        self._within: _Heap = []
        # Those that share, by when they were used last, or earlier.
        self._recent: list[tuple[float, str]] = []

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def __len__(self) -> int:
        return len(self._accounts)

    def get(self, name: str) -> Account | None:
        """The account called `name`, if it is open."""
        return self._accounts.get(name)

    def open(self, name: str, policy: KvPolicy) -> Account:
        """The account, used now, under this policy from now on. What it holds stays as it is."""
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account(name, KvPolicy(reserved=0.0), shares=False)
        if account.shares:
            self._weights -= account.weight
        else:
            heapq.heappush(self._recent, (self._clock(), name))
        more = _millionths(policy) - _millionths(account.policy)
        account.policy, account.used, account.shares = policy, self._clock(), True
        self._weights += account.weight
        self._promise(more)
        self._changed(account)
        return account

    def close(self, name: str) -> None:
        """Forget an account that holds nothing."""
        account = self._accounts[name]
        if account.resident:
            raise ValueError("an account that holds tokens cannot be closed")
        del self._accounts[name]
        if account.shares:
            self._weights -= account.weight
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

    def above_share(self, account: Account) -> int:
        """Tokens above its reservation and its share of what nobody reserved."""
        spare = account.resident - self.reserved(account)
        if not account.shares or not self._weights:
            return max(0, spare)
        rest = self.tokens - self.reserved_in_all()
        return max(0, spare - rest * account.weight // self._weights)

    def next_to_give(self) -> tuple[Account, int] | None:
        """Who gives up next, and how much of it before another one is asked. None: nobody can."""
        self._let_idle_go()
        if account := self._first(self._above_cap):
            return account, min(account.surplus, self.excess(account))
        while (account := self._first(self._within)) and self.above_share(account):
            self._move(self._within, self._above_share, account.used)
        while account := self._first(self._above_share):
            if more := self.above_share(account):
                return account, min(account.surplus, more)
            self._move(self._above_share, self._within, -self._level(account))
        account = self._first(self._within)
        return (account, account.surplus) if account else None

    def pass_over(self, account: Account) -> None:
        """It cannot give now, whatever the numbers say; it is asked again when they change."""
        account.version = next(self._versions)

    def _changed(self, account: Account) -> None:
        account.version = next(self._versions)
        spare = account.resident - self.reserved(account)
        surplus = max(0, min(account.evictable, spare))
        self._reclaimable += surplus - account.surplus
        account.surplus = surplus
        if not surplus:
            return
        if excess := self.excess(account):
            self._push(self._above_cap, -excess, account)
        elif self.above_share(account):
            self._push(self._above_share, account.used, account)
        else:
            self._push(self._within, -self._level(account), account)

    def _level(self, account: Account) -> float:
        return (account.resident - self.reserved(account)) / account.weight

    def _push(self, heap: _Heap, urgency: float, account: Account) -> None:
        heapq.heappush(heap, (urgency, account.version, account.name))
        if len(heap) > 64 + 8 * len(self._accounts):
            heap[:] = [entry for entry in heap if self._current(entry)]
            heapq.heapify(heap)

    def _current(self, entry: tuple[float, int, str]) -> Account | None:
        account = self._accounts.get(entry[2])
        return account if account is not None and account.version == entry[1] else None

    def _first(self, heap: _Heap) -> Account | None:
        while heap:
            if account := self._current(heap[0]):
                return account
            heapq.heappop(heap)
        return None

    def _move(self, source: _Heap, target: _Heap, urgency: float) -> None:
        _, version, name = heapq.heappop(source)
        heapq.heappush(target, (urgency, version, name))

    def _let_idle_go(self) -> None:
        idle = self._clock() - IDLE_SECONDS
        while self._recent and self._recent[0][0] < idle:
            _, name = heapq.heappop(self._recent)
            account = self._accounts.get(name)
            if account is None or not account.shares:
                continue
            if account.used >= idle:
                heapq.heappush(self._recent, (account.used, name))
                continue
            account.shares = False
            self._weights -= account.weight
            self._changed(account)

    def _divisor(self) -> int:
        return max(_WHOLE, 2 * self._promised)

    def _promise(self, more: int) -> None:
        before = self._divisor()
        self._promised += more
        if self._divisor() != before:
            for account in self._accounts.values():
                self._changed(account)


def _millionths(policy: KvPolicy) -> int:
    return round(policy.reserved * _WHOLE)
