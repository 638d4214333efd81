"""KV accounts against an oracle that computes everything anew, slowly."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving.engine_plugin.accounts import IDLE_SECONDS, Accounts
from serving.engine_plugin.claims import KvPolicy

POOL = 1_000
NAMES = st.sampled_from("abcde")
FRACTIONS = st.sampled_from([0.0, 0.1, 0.2, 0.4])
POLICIES = st.builds(
    KvPolicy,
    reserved=FRACTIONS,
    cap=st.sampled_from([0.0, 0.3, 0.6]),
    weight=st.sampled_from([0.5, 1.0, 4.0]),
)


@dataclass
class Model:
    """One account, as written down by hand."""

    policy: KvPolicy
    used: float
    resident: int = 0
    locked: int = 0


@dataclass
class Oracle:
    """All accounts."""

    now: float = 0.0
    accounts: dict[str, Model] = field(default_factory=dict)

    def divisor(self) -> Fraction:
        promised = sum(_exact(each.policy.reserved) for each in self.accounts.values())
        return max(Fraction(1), 2 * promised)

    def reserved(self, model: Model) -> int:
        return math.floor(_exact(model.policy.reserved) * POOL / self.divisor())

    def surplus(self, model: Model) -> int:
        spare = model.resident - self.reserved(model)
        return max(0, min(model.resident - model.locked, spare))

    def excess(self, model: Model) -> int:
        cap = int(model.policy.cap * POOL)
        return max(0, model.resident - cap) if cap else 0

    def shares(self, model: Model) -> bool:
        return model.used >= self.now - IDLE_SECONDS

    def above_share(self, model: Model) -> int:
        spare = model.resident - self.reserved(model)
        if not self.shares(model):
            return max(0, spare)
        sharing = [each for each in self.accounts.values() if self.shares(each)]
        promised = sum(_exact(each.policy.reserved) for each in self.accounts.values())
        rest = POOL - math.floor(promised * POOL / self.divisor())
        part = _exact(model.policy.weight) / sum(_exact(each.policy.weight) for each in sharing)
        return max(0, spare - math.floor(rest * part))

    def urgency(self, model: Model) -> tuple[float, ...]:
        """The greater the sooner."""
        if excess := self.excess(model):
            return 2, excess
        if self.above_share(model):
            return 1, -model.used
        return 0, (model.resident - self.reserved(model)) / model.policy.weight

    def most(self, model: Model) -> int:
        more = self.excess(model) or self.above_share(model) or POOL
        return min(self.surplus(model), more)


def _exact(part: float) -> Fraction:
    return Fraction(str(part))


class AccountsMachine(RuleBasedStateMachine):
    """Random traffic of up to five tenants."""

    def __init__(self) -> None:
        super().__init__()
        self.oracle = Oracle()
        self.accounts = Accounts(POOL, clock=lambda: self.oracle.now)

    @rule(seconds=st.sampled_from([1.0, 100.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.oracle.now += seconds

    @rule(name=NAMES, policy=POLICIES)
    def open(self, name: str, policy: KvPolicy) -> None:
        self.oracle.now += 0.001  # no two at once
        self.accounts.open(name, policy)
        model = self.oracle.accounts.setdefault(name, Model(policy, 0.0))
        model.policy, model.used = policy, self.oracle.now

    @precondition(lambda self: self.oracle.accounts)
    @rule(data=st.data(), tokens=st.integers(1, 200))
    def fill(self, data: st.DataObject, tokens: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.oracle.accounts)))
        self._change(name, resident=tokens)

    @precondition(lambda self: self.oracle.accounts)
    @rule(data=st.data())
    def lock_and_unlock(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.oracle.accounts)))
        model = self.oracle.accounts[name]
        locked = data.draw(st.integers(-model.locked, model.resident - model.locked))
        self._change(name, locked=locked)

    @rule(tokens=st.integers(1, 50))
    def evict(self, tokens: int) -> None:
        given = self.accounts.next_to_give()
        givers = {n: m for n, m in self.oracle.accounts.items() if self.oracle.surplus(m)}
        if given is None:
            assert not givers
            return
        account, most = given
        first = max(map(self.oracle.urgency, givers.values()))
        model = givers[account.name]
        assert self.oracle.urgency(model) == pytest.approx(first)
        assert most == self.oracle.most(model)
        self._change(account.name, resident=-min(tokens, most))

    @precondition(lambda self: any(not m.resident for m in self.oracle.accounts.values()))
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        empty = sorted(n for n, m in self.oracle.accounts.items() if not m.resident)
        name = data.draw(st.sampled_from(empty))
        self.accounts.close(name)
        del self.oracle.accounts[name]

    @rule()
    def flush(self) -> None:
        self.accounts.clear()
        for model in self.oracle.accounts.values():
            model.resident = model.locked = 0

    def _change(self, name: str, *, resident: int = 0, locked: int = 0) -> None:
        account = self.accounts.get(name)
        assert account is not None
        self.accounts.change(account, resident=resident, locked=locked)
        self.oracle.accounts[name].resident += resident
        self.oracle.accounts[name].locked += locked

    @invariant()
    def sums_agree(self) -> None:
        expected = {n: (m.resident, m.locked) for n, m in self.oracle.accounts.items()}
        assert {a.name: (a.resident, a.locked) for a in self.accounts} == expected
        surplus = {n: self.oracle.surplus(m) for n, m in self.oracle.accounts.items()}
        assert {a.name: a.surplus for a in self.accounts} == surplus
        assert self.accounts.reclaimable() == sum(surplus.values())

    @invariant()
    def reservations_leave_half_the_pool(self) -> None:
        assert sum(self.accounts.reserved(a) for a in self.accounts) <= POOL / 2


TestAccounts = AccountsMachine.TestCase
TestAccounts.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_an_account_cannot_lock_what_it_does_not_hold() -> None:
    accounts = Accounts(POOL)
    with pytest.raises(ValueError, match="lock"):
        accounts.change(accounts.open("a", KvPolicy()), resident=5, locked=6)


def test_an_account_that_is_opened_anew_gives_nothing_of_its_former_self() -> None:
    accounts = Accounts(POOL)
    former = accounts.open("a", KvPolicy())
    accounts.change(former, resident=50)
    accounts.change(former, resident=-50)
    accounts.close("a")
    anew = accounts.open("a", KvPolicy())
    for _ in range(5):
        accounts.change(anew, resident=50, locked=50)
        assert accounts.next_to_give() is None
        accounts.change(anew, resident=-50, locked=-50)


def test_an_account_that_holds_tokens_is_not_closed() -> None:
    accounts = Accounts(POOL)
    accounts.change(accounts.open("a", KvPolicy()), resident=5)
    with pytest.raises(ValueError, match="closed"):
        accounts.close("a")
