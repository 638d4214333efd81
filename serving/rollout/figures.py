"""What is counted of each arm. Numbers only: no text of an answer is among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from serving.rollout.histogram import Histogram

_COUNTS = ("requests", "errors", "refusals", "removals", "leaks", "characters")
_SUMS = ("scores", "agreement")


@dataclass(frozen=True, slots=True)
class Scores:
    """Sums over the scores, each 0 to 1, that a version got in the tenant's own evaluation."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, scores: Sequence[float]) -> Scores:
        """The sums of these scores."""
        return cls(len(scores), sum(scores), sum(score * score for score in scores))

    def __add__(self, other: Scores) -> Scores:
        return Scores(
            self.count + other.count, self.total + other.total, self.squares + other.squares
        )


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """One arm's window.

    errors: answers that the platform did not finish. refusals: answers that decline. removals:
    answers from which the guard took something. leaks: answers with a canary in them. characters:
    of all answers. agreement: of a shadow's answers with those that were sent. ttft: from when the
    version is in the engine to the first token; the wait for that is not in it. gaps: each answer's
    mean time between tokens; tokens of one answer are not independent of each other, so that an
    answer counts once.
    """

    requests: int = 0
    errors: int = 0
    refusals: int = 0
    removals: int = 0
    leaks: int = 0
    characters: int = 0
    ttft: Histogram = field(default_factory=Histogram)
    gaps: Histogram = field(default_factory=Histogram)
    scores: Scores = field(default_factory=Scores)
    agreement: Scores = field(default_factory=Scores)

    def __add__(self, other: ArmFigures) -> ArmFigures:
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return ArmFigures(
            **counts,
            ttft=self.ttft + other.ttft,
            gaps=self.gaps + other.gaps,
            scores=self.scores + other.scores,
            agreement=self.agreement + other.agreement,
        )

    def encoded(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **{name: getattr(self, name) for name in _COUNTS},
            "ttft": _buckets(self.ttft),
            "gaps": _buckets(self.gaps),
            **{name: list(astuple(getattr(self, name))) for name in _SUMS},
        }

    @classmethod
    def decoded(cls, figures: dict[str, Any]) -> ArmFigures:
        """What `encoded` gave."""
        counts: dict[str, Any] = {name: int(figures[name]) for name in _COUNTS}
        sums: dict[str, Any] = {name: Scores(*figures[name]) for name in _SUMS}
        times: dict[str, Any] = {name: _histogram(figures[name]) for name in ("ttft", "gaps")}
        return cls(**counts, **sums, **times)


@dataclass(frozen=True, slots=True)
class Figures:
    """Both arms."""

    control: ArmFigures = field(default_factory=ArmFigures)
    canary: ArmFigures = field(default_factory=ArmFigures)

    def __add__(self, other: Figures) -> Figures:
        return Figures(self.control + other.control, self.canary + other.canary)

    def encoded(self) -> dict[str, Any]:
        """As JSON."""
        return {"control": self.control.encoded(), "canary": self.canary.encoded()}

    @classmethod
    def decoded(cls, figures: dict[str, Any]) -> Figures:
        """What `encoded` gave."""
        return cls(ArmFigures.decoded(figures["control"]), ArmFigures.decoded(figures["canary"]))


def _buckets(histogram: Histogram) -> dict[str, int]:
    return {str(bucket): count for bucket, count in sorted(histogram.buckets.items())}


def _histogram(buckets: dict[str, int]) -> Histogram:
    return Histogram({int(bucket): int(count) for bucket, count in buckets.items()})
