"""Counted figures and the bounds on them."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout.bounds import least_drop, least_rise, middle, quantile_bounds
from serving.rollout.comparison import agreement
from serving.rollout.figures import ArmFigures, Figures, Scores
from serving.rollout.histogram import Histogram

DURATIONS = st.lists(st.floats(0, 1e4), max_size=50)


@st.composite
def arms(draw: st.DrawFn) -> ArmFigures:
    counts = draw(st.lists(st.integers(0, 1000), min_size=6, max_size=6))
    scores = draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=10))
    one, other = (Histogram.of(*draw(DURATIONS)) for _ in range(2))
    return ArmFigures(*counts, one, other, Scores.of(scores), Scores.of(scores))


@given(arms(), arms(), arms())
def test_figures_of_gateways_add_up_in_any_order(
    a: ArmFigures, b: ArmFigures, c: ArmFigures
) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + ArmFigures() == a


@given(arms(), arms())
def test_figures_survive_being_stored(control: ArmFigures, canary: ArmFigures) -> None:
    figures = Figures(control, canary)
    assert Figures.decoded(figures.encoded()) == figures


@given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=50))
def test_a_bucket_is_near_its_durations(durations: list[float]) -> None:
    histogram = Histogram.of(*durations)
    for rank, duration in enumerate(sorted(durations), 1):
        low, high = histogram.at(rank)
        assert low <= duration * (1 + 1e-9)
        assert duration <= high * (1 + 1e-9)
        assert high <= max(low, 1e-4) * 1.1
    with pytest.raises(IndexError):
        histogram.at(len(durations) + 1)


def test_the_difference_of_rates_is_newcombes() -> None:
    # 56/70 against 48/80: his table II (a) gives 0.0524 to 0.3339 at 95%, two-sided.
    assert least_rise(56, 70, 48, 80, 0.025) == pytest.approx(0.0524, abs=1e-4)
    assert -least_rise(48, 80, 56, 70, 0.025) == pytest.approx(0.3339, abs=1e-4)


@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_more_hits_raise_the_bound(of: int, base_of: int, data: st.DataObject) -> None:
    base_hits = data.draw(st.integers(0, base_of))
    hits = data.draw(st.integers(0, of - 1))
    bounds = [least_rise(hits + more, of, base_hits, base_of, 0.05) for more in (0, 1)]
    assert bounds[0] <= bounds[1] + 1e-12
    assert bounds[0] <= hits / of - base_hits / base_of + 1e-12


def test_a_quantiles_bounds_hold_it_as_often_as_they_say() -> None:
    rng, true = random.Random(7), math.log(20)  # 95th percentile of the exponential distribution
    outside = [0, 0]
    for _ in range(600):
        low, high = quantile_bounds(
            Histogram.of(*(rng.expovariate(1) for _ in range(200))), 0.95, 0.05
        )
        outside[0] += true < low
        outside[1] += true > high
    assert max(outside) <= 45  # 5% of 600 are 30; the buckets' width makes it less


def test_few_durations_bound_no_high_quantile() -> None:
    low, high = quantile_bounds(Histogram.of(*[1.0] * 20), 0.95, 0.01)
    assert high == math.inf
    assert low <= 1.0 <= middle(Histogram.of(*[1.0] * 20), 0.95)
    assert quantile_bounds(Histogram.of(1.0), 0.95, 0.01) == (0.0, math.inf)
    assert quantile_bounds(Histogram(), 0.95, 0.01) == (0.0, math.inf)


def test_a_few_equal_scores_prove_no_difference() -> None:
    assert least_drop(Scores.of([0.0] * 2), Scores.of([1.0] * 2), 0.01) < 0
    assert least_drop(Scores.of([0.0] * 50), Scores.of([1.0] * 50), 0.01) > 0.9


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("", "", 1.0),
        ("", "a", 0.0),
        ("Thirty days.", "thirty DAYS", 1.0),
        ("a b", "a c", 0.5),
        ("a a", "a", 2 / 3),
    ],
)
def test_answers_agree_by_their_words(one: str, other: str, alike: float) -> None:
    assert agreement(one, other) == agreement(other, one) == pytest.approx(alike)
