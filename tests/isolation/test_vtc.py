"""Virtual token counters: the paper's properties, under any sequence that hypothesis finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.vtc import INPUT_PRICE, OUTPUT_PRICE, VirtualTokenCounters

LARGEST = 100
COSTS = st.tuples(st.integers(1, LARGEST), st.integers(0, LARGEST))
BOUND = INPUT_PRICE * LARGEST + OUTPUT_PRICE * LARGEST


def _serve(
    counters: VirtualTokenCounters[int], weights: dict[str, float], cost: tuple[int, int]
) -> str:
    tenant, _ = counters.pop()
    counters.charge(tenant, weight=weights[tenant], input_tokens=cost[0], output_tokens=cost[1])
    counters.done(tenant)
    return tenant


@given(st.lists(COSTS, min_size=1, max_size=200))
def test_backlogged_tenants_differ_by_no_more_than_one_request(
    costs: list[tuple[int, int]],
) -> None:
    counters: VirtualTokenCounters[int] = VirtualTokenCounters()
    weights = {"a": 1.0, "b": 1.0, "c": 1.0}
    for tenant in weights:
        for number in range(len(costs)):
            counters.add(tenant, number)
    for cost in costs:
        _serve(counters, weights, cost)
        values = [counters.counter(tenant) for tenant in weights]
        assert max(values) - min(values) <= BOUND


def test_service_is_shared_by_weight() -> None:
    counters: VirtualTokenCounters[int] = VirtualTokenCounters()
    weights = {"enterprise": 4.0, "starter": 1.0}
    for tenant in weights:
        for number in range(1_000):
            counters.add(tenant, number)
    served = [_serve(counters, weights, (10, 10)) for _ in range(500)]
    assert served.count("enterprise") == pytest.approx(400, abs=4)


def test_who_was_away_has_saved_up_nothing() -> None:
    counters: VirtualTokenCounters[int] = VirtualTokenCounters()
    weights = {"busy": 1.0, "returning": 1.0}
    for number in range(100):
        counters.add("busy", number)
    for _ in range(50):
        _serve(counters, weights, (10, 10))
    for number in range(50):
        counters.add("returning", number)
    served = [_serve(counters, weights, (10, 10)) for _ in range(40)]
    assert served.count("busy") == pytest.approx(20, abs=1)


def test_who_comes_into_an_empty_queue_is_not_ahead_either() -> None:
    counters: VirtualTokenCounters[int] = VirtualTokenCounters()
    weights = {"busy": 1.0, "late": 1.0}
    for number in range(50):
        counters.add("busy", number)
        _serve(counters, weights, (10, 10))
    counters.add("late", 0)
    assert counters.counter("late") > 0


def test_a_tenants_own_requests_are_served_in_order() -> None:
    counters: VirtualTokenCounters[int] = VirtualTokenCounters()
    for number in range(5):
        counters.add("a", number)
    counters.discard("a", 2)
    assert [counters.pop()[1] for _ in range(4)] == [0, 1, 3, 4]
    with pytest.raises(IndexError):
        counters.pop()
