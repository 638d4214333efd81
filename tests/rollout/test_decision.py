"""Promote, roll back or go on."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.rollout.decision import Action, Decision, decide
from serving.rollout.figures import ArmFigures, Figures, Scores
from serving.rollout.histogram import Histogram
from serving.rollout.policy import RolloutPolicy

POLICY = RolloutPolicy(minimum_requests=50, window_requests=200, window_seconds=60)
SEVERITY = [Action.PROMOTE, Action.GO_ON, Action.ROLL_BACK]


def _arm(requests: int, ttft: float = 0.2, gap: float = 0.05, **counts: int) -> ArmFigures:
    ttfts, gaps = (Histogram.of(*[seconds] * requests) for seconds in (ttft, gap))
    return ArmFigures(requests, ttft=ttfts, gaps=gaps, **counts)


GOOD = Figures(_arm(1800), _arm(200))


def _of(canary: ArmFigures, looks: int = 0, seconds: float = 60) -> Decision:
    return decide(Figures(_arm(1800), canary), POLICY, seconds, looks)


def test_a_canary_like_the_control_is_promoted_when_its_window_is_over() -> None:
    decision = decide(GOOD, POLICY, 60, 0)
    assert (decision.action, decision.reasons) == (Action.PROMOTE, ("gates_passed",))
    assert decide(GOOD, POLICY, 59, 0).reasons == ("window_not_over",)
    assert _of(_arm(199)).reasons == ("window_not_over",)


@pytest.mark.parametrize(
    ("canary", "reason"),
    [
        (_arm(50, errors=10), "errors_worse"),
        (_arm(50, refusals=25), "refusals_worse"),
        (_arm(50, removals=10), "removals_worse"),
        (_arm(200, ttft=0.9), "ttft_p95_worse"),
        (_arm(200, gap=0.2), "gap_p95_worse"),
    ],
)
def test_a_worse_canary_is_rolled_back_before_its_window_is_over(
    canary: ArmFigures, reason: str
) -> None:
    """For what is worse, and for nothing else."""
    decision = _of(canary, seconds=1)
    assert (decision.action, decision.reasons) == (Action.ROLL_BACK, (reason,))


@given(st.integers(0, 49), st.integers(0, 5000), st.booleans(), st.integers(0, 9))
def test_below_the_minimum_nothing_is_decided(
    few: int, many: int, canary_has_few: bool, looks: int
) -> None:
    canary, control = (few, many) if canary_has_few else (many, few)
    figures = Figures(_arm(control), _arm(canary, errors=canary))
    assert decide(figures, POLICY, 1e9, looks).action is Action.GO_ON


@given(st.integers(1, 10), st.integers(0, 5000), st.floats(0, 1e6), st.integers(0, 20))
def test_a_leak_rolls_back_at_once(leaks: int, control: int, seconds: float, looks: int) -> None:
    figures = Figures(_arm(control), _arm(leaks, leaks=leaks))
    decision = decide(figures, POLICY, seconds, looks)
    assert (decision.action, decision.reasons) == (Action.ROLL_BACK, ("leak",))


def test_a_leak_of_the_old_version_is_not_the_new_ones_fault() -> None:
    figures = replace(GOOD, control=replace(GOOD.control, leaks=1))
    assert decide(figures, POLICY, 60, 0).action is Action.PROMOTE


@given(
    st.integers(50, 400),
    st.sampled_from(["errors", "refusals", "removals"]),
    st.floats(0, 120),
    st.integers(0, 4),
    st.data(),
)
def test_more_that_is_bad_never_makes_a_decision_milder(
    requests: int, count: str, seconds: float, looks: int, data: st.DataObject
) -> None:
    bad = data.draw(st.integers(0, requests - 1))
    severities = [
        SEVERITY.index(_of(_arm(requests, **{count: number}), looks, seconds).action)
        for number in (bad, bad + 1)
    ]
    assert severities[0] <= severities[1]


@given(st.integers(0, 400), st.integers(0, 10), st.floats(0, 120))
def test_a_decision_is_a_function_of_its_figures(requests: int, looks: int, seconds: float) -> None:
    canary = _arm(requests, errors=requests // 20)
    assert _of(canary, looks, seconds) == _of(canary, looks, seconds)


def test_what_chance_may_explain_is_waited_for_and_then_not_believed() -> None:
    # 2.5 points above the control: beyond the margin of 2, and not surely so.
    decision = _of(_arm(200, errors=5))
    assert (decision.action, decision.reasons) == (Action.GO_ON, ("errors_open",))
    again = _of(_arm(200, errors=5), looks=4)
    assert again.reasons == ("no_look_due",)
    late = _of(_arm(400, errors=10), looks=4)
    assert (late.action, late.reasons) == (Action.ROLL_BACK, ("errors_open",))


def test_the_window_is_not_closed_before_the_tenants_scores_are_there() -> None:
    policy = POLICY.model_copy(update={"minimum_scores": 30})
    assert decide(GOOD, policy, 60, 0).reasons == ("scores_missing",)
    assert decide(GOOD, policy, 60, 3).reasons == ("no_look_due",)
    base = replace(GOOD.control, scores=Scores.of([1.0, 0.5] * 20))
    for scores, action in (
        ([1.0, 0.5] * 20, Action.PROMOTE),
        ([1.0, 0.0] * 20, Action.GO_ON),
        ([0.0, 0.25] * 20, Action.ROLL_BACK),
    ):
        canary = replace(GOOD.canary, scores=Scores.of(scores))
        assert decide(Figures(base, canary), policy, 60, 3).action is action


def test_an_equal_canary_is_rarely_rolled_back_for_all_the_looking() -> None:
    """Margins of zero: then an equal canary is the worst that may still be promoted."""
    policy = RolloutPolicy(
        alpha=0.1,
        minimum_requests=50,
        window_requests=800,
        window_seconds=0,
        error_rise=0,
        refusal_rise=0,
        removal_rise=0,
    )
    rng, wrong = random.Random(11), 0
    for _ in range(300):
        wrong += _runs(policy, rng) is Action.ROLL_BACK
    assert wrong <= 42  # 10% of 300 are 30; 42 is what chance exceeds once in a hundred


def _runs(policy: RolloutPolicy, rng: random.Random) -> Action:
    """One rollout of two equal arms, up to the end of its window."""
    figures, looks = Figures(), 0
    for _ in range(16):
        figures += Figures(*(_batch(rng) for _ in range(2)))
        decision = decide(figures, policy, 0, looks)
        looks = decision.look
        if decision.action is not Action.GO_ON:
            return decision.action
    return Action.GO_ON


def _batch(rng: random.Random) -> ArmFigures:
    bad = [sum(rng.random() < 0.1 for _ in range(50)) for _ in range(3)]
    times = Histogram.of(*(rng.expovariate(1) for _ in range(50)))
    return ArmFigures(50, *bad, ttft=times, gaps=times)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_requests": 20},
        {"alpha": 0},
        {"minimum_requests": 1},
        {"minimum_scores": 1},
        {"ttft_ratio": 0.5},
        {"unknown": 1},
    ],
)
def test_a_policy_that_decides_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        RolloutPolicy.model_validate(wrong)
