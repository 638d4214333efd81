"""Bounds of a rate, and of an attacker's guess."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log, log1p, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

_STEPS = 100


def upper_bound(events: int, trials: int, confidence: float = 0.95) -> float:
    """Clopper and Pearson's one-sided upper bound of a rate; about 3/n where nothing was seen.

    `confidence` is the chance that the bound is not below the true rate, at least.
    """
    if events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _at_most(events, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def rate(events: int, trials: int) -> dict[str, Any]:
    """For a report. Of no trials nothing is known."""
    if not trials:
        return {"events": 0, "trials": 0, "rate": None, "upper_95": None}
    bound = float(f"{upper_bound(events, trials):.3g}")
    return {"events": events, "trials": trials, "rate": events / trials, "upper_95": bound}


@dataclass(frozen=True, slots=True)
class Auc:
    """How well a number tells two classes apart: 0.5 is chance. With its interval."""

    value: float
    low: float
    high: float


def auc(positives: list[float], negatives: list[float], confidence: float) -> Auc:
    """The area under the ROC curve, DeLong's interval (Biometrics 44, 1988); ties count half."""
    ones, zeros = np.asarray(positives), np.asarray(negatives)
    wins = (ones[:, None] > zeros) + 0.5 * (ones[:, None] == zeros)
    value = float(wins.mean())
    variance = sum(
        float(wins.mean(axis=axis).var(ddof=1)) / wins.shape[1 - axis] for axis in (0, 1)
    )
    half = NormalDist().inv_cdf((1 + confidence) / 2) * sqrt(variance)
    return Auc(value, max(0.0, value - half), min(1.0, value + half))


def _at_most(events: int, trials: int, chance: float) -> float:
    """P(X <= events) of a binomial variable."""
    return sum(
        exp(
            lgamma(trials + 1)
            - lgamma(count + 1)
            - lgamma(trials - count + 1)
            + count * log(chance)
            + (trials - count) * log1p(-chance)
        )
        for count in range(events + 1)
    )
