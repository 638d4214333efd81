"""The gates: each compares one figure of the two arms, and says how that stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from serving.rollout.bounds import least_drop, least_rise, middle, quantile_bounds
from serving.rollout.figures import Figures
from serving.rollout.histogram import Histogram
from serving.rollout.policy import RolloutPolicy

_QUANTILE = 0.95


class Standing(StrEnum):
    """fine: within the margin. open: beyond it, which may be chance. worse: beyond it for sure."""

    FINE = "fine"
    OPEN = "open"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class GateResult:
    """How one gate stands. control, canary: the figure that it compared; None where none is."""

    gate: str
    standing: Standing
    control: float | None
    canary: float | None
    margin: float


Gate = Callable[[Figures, RolloutPolicy, float], GateResult]


def judged(figures: Figures, policy: RolloutPolicy, alpha: float) -> list[GateResult]:
    """All gates of the policy, each at `alpha` divided by their number (Bonferroni).

    Both arms have one request or more.
    """
    gates: list[Gate] = [_errors, _refusals, _removals, _ttft, _gaps]
    if policy.minimum_scores:
        gates.append(_quality)
    return [gate(figures, policy, alpha / len(gates)) for gate in gates]


def _errors(figures: Figures, policy: RolloutPolicy, alpha: float) -> GateResult:
    return _rate("errors", figures, policy.error_rise, alpha)


def _refusals(figures: Figures, policy: RolloutPolicy, alpha: float) -> GateResult:
    return _rate("refusals", figures, policy.refusal_rise, alpha)


def _removals(figures: Figures, policy: RolloutPolicy, alpha: float) -> GateResult:
    return _rate("removals", figures, policy.removal_rise, alpha)


def _rate(name: str, figures: Figures, margin: float, alpha: float) -> GateResult:
    control, canary = figures.control, figures.canary
    hits, base_hits = getattr(canary, name), getattr(control, name)
    rate, base = hits / canary.requests, base_hits / control.requests
    surely = least_rise(hits, canary.requests, base_hits, control.requests, alpha) > margin
    return GateResult(name, _standing(rate - base <= margin, surely), base, rate, margin)


def _ttft(figures: Figures, policy: RolloutPolicy, alpha: float) -> GateResult:
    control, canary = figures.control.ttft, figures.canary.ttft
    return _duration("ttft_p95", control, canary, policy.ttft_ratio, alpha)


def _gaps(figures: Figures, policy: RolloutPolicy, alpha: float) -> GateResult:
    control, canary = figures.control.gaps, figures.canary.gaps
    return _duration("gap_p95", control, canary, policy.gap_ratio, alpha)


def _duration(
    name: str, control: Histogram, canary: Histogram, margin: float, alpha: float
) -> GateResult:
    if not (control.count and canary.count):
        # Nothing to compare: answers without a token are errors or refusals, and counted there.
        return GateResult(name, Standing.FINE, None, None, margin)
    base, quantile = middle(control, _QUANTILE), middle(canary, _QUANTILE)
    # Half for each of the two bounds.
    _, high = quantile_bounds(control, _QUANTILE, alpha / 2)
    low, _ = quantile_bounds(canary, _QUANTILE, alpha / 2)
    standing = _standing(quantile <= margin * base, low > margin * high)
    return GateResult(name, standing, base, quantile, margin)


def _quality(figures: Figures, policy: RolloutPolicy, alpha: float) -> GateResult:
    scores, base = figures.canary.scores, figures.control.scores
    margin = policy.score_drop
    if min(scores.count, base.count) < policy.minimum_scores:
        return GateResult("quality", Standing.OPEN, None, None, margin)
    mean, base_mean = scores.total / scores.count, base.total / base.count
    surely = least_drop(scores, base, alpha) > margin
    return GateResult(
        "quality", _standing(base_mean - mean <= margin, surely), base_mean, mean, margin
    )


def _standing(within: bool, surely_worse: bool) -> Standing:
    if surely_worse:
        return Standing.WORSE
    return Standing.FINE if within else Standing.OPEN
