"""The tenants' cache on SGLang's pools: its accounting, and whose prefix goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from serving.engine_plugin.claims import KvPolicy
from serving.engine_plugin.identity import PUBLIC_ACCOUNT, PUBLIC_NAMESPACE
from tests.engine.inside.pools import Pools, claims, fresh, request

POOL = 200
TENANTS = {
    "a": claims("a", policy=KvPolicy(reserved=0.2)),
    "b": claims("b", policy=KvPolicy(cap=0.3)),
    "c": claims("c", policy=KvPolicy(weight=4.0)),
    "c2": claims("c", namespace="ns-c2", policy=KvPolicy(weight=4.0)),
}
NAMES = st.sampled_from(sorted(TENANTS))
# A small alphabet, so that prefixes meet and split.
TOKENS = st.lists(st.integers(1, 3), min_size=1, max_size=30)


class CacheMachine(RuleBasedStateMachine):
    """Tenants insert, look up, hold and release; the oracle counts the tree's nodes anew."""

    def __init__(self) -> None:
        super().__init__()
        self.pools = Pools(POOL)
        self.pools.tree.block = 4
        self.locks: list[Any] = []
        self.public: list[list[int]] = []
        self.inserted: dict[str, list[list[int]]] = {}

    @rule(name=NAMES, tokens=TOKENS)
    def insert(self, name: str, tokens: list[int]) -> None:
        try:
            self.pools.insert(tokens, TENANTS[name])
        except MemoryError:
            return
        assert self.pools.match(tokens, TENANTS[name].namespace)[0] == len(tokens)
        self.inserted.setdefault(TENANTS[name].namespace, []).append(tokens)

    @rule(tokens=st.lists(st.integers(1, 3), min_size=1, max_size=12))
    def publish(self, tokens: list[int]) -> None:
        if len(self.public) == 3:
            return
        try:
            self.pools.insert(tokens, claims(PUBLIC_ACCOUNT, PUBLIC_NAMESPACE))
        except MemoryError:
            return
        self.pools.tree.publish()
        self.public.append(tokens)

    @rule(name=NAMES, tokens=TOKENS)
    def look(self, name: str, tokens: list[int]) -> None:
        """Nobody hits more than it put there itself, or the operator did."""
        namespace = TENANTS[name].namespace
        hit, _ = self.pools.match(tokens, namespace)
        known = [*self.inserted.get(namespace, []), *self.public]
        assert hit <= max((_common(tokens, other) for other in known), default=0)

    @rule(name=NAMES, tokens=TOKENS)
    def hold(self, name: str, tokens: list[int]) -> None:
        _, node = self.pools.match(tokens, TENANTS[name].namespace)
        self.locks.append(self.pools.tree.lock(node))

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.locks:
            index = data.draw(st.integers(0, len(self.locks) - 1))
            self.pools.tree.unlock(self.locks.pop(index))

    @rule(name=NAMES)
    def finish(self, name: str) -> None:
        self.pools.tree.on_release(request(TENANTS[name]), checkpointed=True)
        account = self.pools.tree.accounts.get(TENANTS[name].account)
        if account is not None and account.evictable:
            assert not self.pools.tree.accounts.excess(account)

    @rule(tokens=st.integers(1, 60))
    def evict(self, tokens: int) -> None:
        before = self._residents()
        self.pools.allocator.evict_to_free_tokens(
            self.pools.tree, self.pools.allocator.available_size() + tokens
        )
        reserved = int(0.2 * POOL)
        if before.get("a", 0) >= reserved:
            assert self._residents().get("a", 0) >= reserved
        else:
            assert self._residents().get("a", 0) == before.get("a", 0)

    @rule(name=st.sampled_from(["a", "b", "c"]))
    def purge(self, name: str) -> None:
        tree = self.pools.tree
        account = tree.accounts.get(name)
        if account is not None:
            assert tree.purge(account) == account.locked == account.resident

    @rule(name=st.sampled_from(["b", "c2"]), policy=st.sampled_from([0.0, 0.1, 0.3]))
    def another_policy(self, name: str, policy: float) -> None:
        before = self._residents_sum()
        owner = TENANTS[name]
        self.pools.tree.enter(claims(owner.account, owner.namespace, KvPolicy(reserved=policy)))
        assert self._residents_sum() == before  # nothing is cooled

    @rule()
    def another_owner(self) -> None:
        self.pools.tree.enter(claims("d", namespace="ns-c2"))

    def _residents(self) -> dict[str, int]:
        return {a.name: a.resident for a in self.pools.tree.accounts if a.resident}

    @invariant()
    def accounts_agree_with_the_tree(self) -> None:
        tree = self.pools.tree
        resident: dict[str, int] = {}
        locked: dict[str, int] = {}
        for namespace, account in tree._owners.items():
            nodes = list(tree.nodes_of(namespace))
            assert len(set(nodes)) == len(nodes)
            for node in nodes:
                assert node.key.cache_salt == namespace
                resident[account.name] = resident.get(account.name, 0) + len(node.value)
                if node.lock_ref:
                    locked[account.name] = locked.get(account.name, 0) + len(node.value)
        found = {a.name: (a.resident, a.locked) for a in tree.accounts if a.resident}
        assert found == {name: (n, locked.get(name, 0)) for name, n in resident.items()}
        assert tree.total_size() == sum(resident.values())
        assert tree.evictable_size() + tree.protected_size() == tree.total_size()

    @invariant()
    def no_slot_is_lost_or_given_twice(self) -> None:
        free = self.pools.allocator.free_pages.tolist()
        held = self.pools.tree.all_values_flatten().tolist() if self._residents_sum() else []
        assert sorted(free + held) == list(range(1, POOL + 1))

    @invariant()
    def what_can_be_reclaimed_is_what_eviction_frees(self) -> None:
        tree = self.pools.tree
        assert 0 <= tree.reclaimable_size() <= tree.evictable_size()

    def _residents_sum(self) -> int:
        return sum(self._residents().values())


def _common(left: list[int], right: list[int]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b),
        min(len(left), len(right)),
    )


TestCache = CacheMachine.TestCase
TestCache.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


@dataclass
class _Tenant:
    owner: Any
    tokens: list[int]


def _flooded(pools: Pools, policy: KvPolicy) -> tuple[int, int]:
    """How much of a quiet tenant's prefix is left after another one's flood, and of the flood."""
    quiet = _Tenant(claims("quiet", policy=policy), fresh(60))
    pools.insert(quiet.tokens, quiet.owner)
    for _ in range(100):
        pools.insert(fresh(40), claims("loud"))
    return pools.match(quiet.tokens, quiet.owner.namespace)[0], pools.tree.total_size()


def test_a_flood_of_one_tenant_leaves_the_others_prefixes() -> None:
    assert _flooded(Pools(POOL), KvPolicy())[0] == 60


def test_the_stock_tree_loses_them_which_is_what_the_test_above_would_see() -> None:
    assert _flooded(Pools(POOL, stock=True), KvPolicy())[0] == 0


def test_a_reservation_holds_against_a_tenant_of_any_weight() -> None:
    pools = Pools(POOL)
    quiet = claims("quiet", policy=KvPolicy(reserved=0.2, weight=1e-6))
    loud = claims("loud", policy=KvPolicy(weight=1e6))
    tokens = fresh(60)
    pools.insert(tokens, quiet)
    for _ in range(50):
        pools.insert(fresh(40), loud)
    left, _ = pools.match(tokens, quiet.namespace)
    assert left == 40  # 0.2 of the pool, cut exactly out of its only leaf


def test_a_tenant_above_its_cap_gives_up_its_own_oldest_first() -> None:
    pools = Pools(POOL)
    capped = claims("capped", policy=KvPolicy(cap=0.3))
    old, new = fresh(40), fresh(40)
    for tokens in (old, new):
        pools.insert(tokens, capped)
        pools.tree.on_release(request(capped), checkpointed=True)
    assert pools.match(new, capped.namespace)[0] == 40
    assert pools.match(old, capped.namespace)[0] == 20
    assert pools.allocator.available_size() == POOL - 60


def test_shares_follow_the_weights() -> None:
    pools = Pools(POOL)
    owners = [claims("light"), claims("heavy", policy=KvPolicy(weight=3.0))]
    for _ in range(60):
        for owner in owners:
            pools.insert(fresh(10), owner)
    light, heavy = (pools.tree.accounts.get(name).resident for name in ("light", "heavy"))
    assert heavy == pytest.approx(3 * light, abs=30)


def test_within_a_tenant_the_least_recently_used_prefix_goes() -> None:
    pools = Pools(POOL)
    owner = claims("a")
    prefixes = [fresh(40) for _ in range(5)]
    for tokens in prefixes:
        pools.insert(tokens, owner)
    assert pools.match(prefixes[0], owner.namespace)[0] == 40  # used again
    pools.insert(fresh(40), owner)
    hits = [pools.match(tokens, owner.namespace)[0] for tokens in prefixes]
    assert hits == [40, 0, 40, 40, 40]


def test_what_a_running_request_holds_is_never_evicted_nor_purged() -> None:
    pools = Pools(POOL)
    owner, tokens = claims("a"), fresh(50)
    pools.insert(tokens, owner)
    lock = pools.tree.lock(pools.match(tokens, owner.namespace)[1])
    account = pools.tree.accounts.get("a")
    assert pools.tree.purge(account) == 50
    pools.insert(fresh(150), claims("b"))
    with pytest.raises(MemoryError):
        pools.allocate(160)
    assert pools.match(tokens, owner.namespace)[0] == 50
    pools.tree.unlock(lock)
    assert pools.tree.purge(account) == 0


def test_accounts_that_hold_nothing_are_forgotten() -> None:
    pools = Pools(POOL)
    for number in range(3_000):
        pools.insert(fresh(5), claims(f"t{number}"))
    assert len(pools.tree.accounts) < 1_200
    assert len(pools.tree._owners) < 1_200


def test_a_public_prefix_is_hit_by_all_and_nothing_below_it_is() -> None:
    pools = Pools(POOL)
    public, question = fresh(64), fresh(20)
    pools.insert(public, claims(PUBLIC_ACCOUNT, PUBLIC_NAMESPACE))
    assert pools.match(public, "ns-a")[0] == 0  # not before it is published
    assert pools.tree.publish() == 64
    assert pools.match(public + question, "ns-a")[0] == 64
    pools.insert(public + question, claims("a"))
    assert pools.match(public + question, "ns-a")[0] == 84
    assert pools.match(public + question, "ns-b")[0] == 64
    assert pools.tree.accounts.get("a").resident == 20


def test_a_tenant_that_could_write_where_the_operator_does_would_be_seen() -> None:
    """The leaky twin: the same look finds the tenant's question at another tenant."""
    pools = Pools(POOL)
    public, question = fresh(64), fresh(20)
    pools.insert(public + question, claims("a", PUBLIC_NAMESPACE))
    pools.tree.publish()
    assert pools.match(public + question, "ns-b")[0] == 84


def test_a_flush_forgets_what_was_public() -> None:
    pools = Pools(POOL)
    public = fresh(64)
    pools.insert(public, claims(PUBLIC_ACCOUNT, PUBLIC_NAMESPACE))
    pools.tree.publish("one")
    assert (pools.tree.prefixes, pools.tree.public_tokens) == ({"one"}, 64)
    pools.tree.reset()
    assert (pools.tree.prefixes, pools.tree.public_tokens) == (set(), 0)


def test_a_tenant_cannot_cut_a_public_block_nor_evict_it() -> None:
    pools = Pools(POOL)
    public = fresh(64)
    pools.insert(public, claims(PUBLIC_ACCOUNT, PUBLIC_NAMESPACE))
    pools.tree.publish()
    nodes = set(pools.tree.nodes_of(PUBLIC_NAMESPACE))
    assert pools.match(public[:50] + fresh(5), "ns-a")[0] == 32
    for _ in range(30):
        pools.insert(public[:50] + fresh(40), claims("a"))
    assert set(pools.tree.nodes_of(PUBLIC_NAMESPACE)) == nodes
    assert pools.match(public, "ns-b")[0] == 64


def test_a_request_keeps_to_what_was_public_when_it_was_matched() -> None:
    """Else its own slots, counted from the old place, would be freed as another's copies."""
    pools = Pools(POOL)
    public, tail = fresh(32), fresh(10)
    pools.insert(public + tail, claims("a"))
    pools.insert(public, claims(PUBLIC_ACCOUNT, PUBLIC_NAMESPACE))
    pools.tree.publish()
    pools.tree._visible = 0  # as in a request that was matched before
    assert pools.match(public + tail, "ns-a")[0] == 42
    pools.tree._visible = None
    assert pools.match(public + tail, "ns-a")[0] == 32
