"""Promote, roll back or go on: a function of the figures, the policy and the time alone.

A rollout is looked at when the canary's requests reach the minimum, each time they have doubled
since, at the end of its window and at the end of a second one. Look n (from 1) may err with
alpha / 2^n, so that all looks together err with alpha at most: who looks again and again finds
what is not there.

A promotion says that no gate found the canary worse within the window, and that every figure was
within its margin. It does not prove that the versions are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from serving.rollout.figures import Figures
from serving.rollout.gates import GateResult, Standing, judged
from serving.rollout.policy import RolloutPolicy

# A canary that is not fine after so many windows is rolled back: the old version has the benefit.
_MOST_WINDOWS = 2


class Action(StrEnum):
    """What to do."""

    GO_ON = "go_on"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, why, and how the gates stood. `look`: the number of this look."""

    action: Action
    reasons: tuple[str, ...]
    look: int
    gates: tuple[GateResult, ...] = ()


def decide(figures: Figures, policy: RolloutPolicy, seconds: float, looks: int) -> Decision:
    """The decision, `seconds` after the start and after so many looks."""
    if figures.canary.leaks:
        return Decision(Action.ROLL_BACK, ("leak",), looks)
    if min(figures.canary.requests, figures.control.requests) < policy.minimum_requests:
        return Decision(Action.GO_ON, ("below_minimum",), looks)
    over = _window_is_over(figures, policy, seconds)
    if looks >= _due(figures, policy, over):
        return Decision(Action.GO_ON, ("no_look_due",), looks)
    gates = tuple(judged(figures, policy, policy.alpha / 2 ** (looks + 1)))
    return _of_gates(gates, figures, policy, over, looks + 1)


def _of_gates(
    gates: tuple[GateResult, ...], figures: Figures, policy: RolloutPolicy, over: bool, look: int
) -> Decision:
    worse = [gate.gate for gate in gates if gate.standing is Standing.WORSE]
    if worse:
        return Decision(Action.ROLL_BACK, tuple(f"{gate}_worse" for gate in worse), look, gates)
    if not over or _scores_missing(figures, policy):
        why = "scores_missing" if over else "window_not_over"
        return Decision(Action.GO_ON, (why,), look, gates)
    still_open = tuple(f"{gate.gate}_open" for gate in gates if gate.standing is Standing.OPEN)
    if not still_open:
        return Decision(Action.PROMOTE, ("gates_passed",), look, gates)
    if figures.canary.requests >= _MOST_WINDOWS * policy.window_requests:
        return Decision(Action.ROLL_BACK, still_open, look, gates)
    return Decision(Action.GO_ON, still_open, look, gates)


def _window_is_over(figures: Figures, policy: RolloutPolicy, seconds: float) -> bool:
    return figures.canary.requests >= policy.window_requests and seconds >= policy.window_seconds


def _due(figures: Figures, policy: RolloutPolicy, over: bool) -> int:
    """How many looks there may have been by now."""
    requests = figures.canary.requests
    doublings = (requests // policy.minimum_requests).bit_length()
    if not over or _scores_missing(figures, policy):
        return doublings
    return doublings + 1 + (requests >= _MOST_WINDOWS * policy.window_requests)


def _scores_missing(figures: Figures, policy: RolloutPolicy) -> bool:
    """They are the tenant's to send: the window is not closed without them."""
    return min(figures.canary.scores.count, figures.control.scores.count) < policy.minimum_scores
