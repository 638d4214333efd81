"""Confidence bounds that the gates compare. All one-sided: `alpha` is the chance to be wrong."""

from __future__ import annotations

import math
from statistics import NormalDist

from serving.rollout.figures import Scores
from serving.rollout.histogram import Histogram


def least_rise(hits: int, of: int, base_hits: int, base_of: int, alpha: float) -> float:
    """By how much one rate is above another one at least.

    Newcombe's hybrid score interval for a difference of proportions (Statistics in Medicine 17,
    1998, p. 873, method 10). Both samples have one member or more.
    """
    rate, base = hits / of, base_hits / base_of
    low, _ = _wilson(hits, of, alpha)
    _, high = _wilson(base_hits, base_of, alpha)
    return rate - base - math.hypot(rate - low, high - base)


def least_drop(scores: Scores, base: Scores, alpha: float) -> float:
    """By how much a mean is below another one at least (Welch, with the normal quantile).

    Both have two members or more. A sample without spread gets that of one step between its
    members, so that a few equal scores prove nothing.
    """
    spread = math.sqrt(_variance(scores) / scores.count + _variance(base) / base.count)
    drop = base.total / base.count - scores.total / scores.count
    return drop - NormalDist().inv_cdf(1 - alpha) * spread


def quantile_bounds(histogram: Histogram, quantile: float, alpha: float) -> tuple[float, float]:
    """A lower and an upper bound of a quantile, seconds; infinity where the sample gives none.

    Free of assumptions on the distribution: the ranks come from the binomial distribution (Conover,
    Practical Nonparametric Statistics, 1999, section 3.2).
    """
    count = histogram.count
    below, lower, upper = 0.0, 0, count + 1
    for rank, chance in _binomial(count, quantile):
        below += chance  # that `rank` or fewer are at or under the quantile
        if below <= alpha:
            lower = rank + 1
        if below >= 1 - alpha:
            upper = rank + 1
            break
    return (
        histogram.at(lower)[0] if lower else 0.0,
        histogram.at(upper)[1] if upper <= count else math.inf,
    )


def middle(histogram: Histogram, quantile: float) -> float:
    """The quantile itself, as the upper end of its bucket, seconds. One member or more."""
    return histogram.at(max(1, math.ceil(quantile * histogram.count)))[1]


def _wilson(hits: int, of: int, alpha: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(1 - alpha)
    rate, square = hits / of, z * z / of
    centre = (rate + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(rate * (1 - rate) / of + square / (4 * of))
    return max(0.0, centre - half), min(1.0, centre + half)


def _variance(scores: Scores) -> float:
    mean = scores.total / scores.count
    spread = max(0.0, scores.squares - scores.count * mean * mean) / (scores.count - 1)
    return max(spread, 1 / scores.count**2)


def _binomial(count: int, chance: float) -> list[tuple[int, float]]:
    """The probabilities of 0 to `count` hits; those that no float tells from 0 are left out."""
    mean, reach = count * chance, 40 + 12 * math.sqrt(count * chance * (1 - chance))
    ranks = range(max(0, math.floor(mean - reach)), min(count, math.ceil(mean + reach)) + 1)
    fixed = math.lgamma(count + 1)
    return [
        (
            hits,
            math.exp(
                fixed
                - math.lgamma(hits + 1)
                - math.lgamma(count - hits + 1)
                + hits * math.log(chance)
                + (count - hits) * math.log1p(-chance)
            ),
        )
        for hits in ranks
    ]
