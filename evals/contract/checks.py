"""What a probe finds out: controls that had to work, boundaries that had to hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """Of one probe, worst last: a leak weighs more than what could not be judged.

    skipped: what the probe needs was not given.
    """

    skipped = "skipped"
    held = "held"
    unjudged = "unjudged"
    leak = "leak"


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that failed. No key, and no text of a document: findings go into CI's logs.

    request: who asked what. what: what was expected. seen: what came instead.
    """

    kind: Verdict
    request: str
    what: str
    seen: str


@dataclass(slots=True)
class Checks:
    """The checks of one probe. `asked` tells the request that is being judged."""

    asked: Callable[[], str] = lambda: ""
    controls: int = 0
    boundaries: int = 0
    findings: list[Finding] = field(default_factory=list)
    skipped: str | None = None

    def skip(self, reason: str) -> None:
        """Nothing is judged, for want of what the caller did not give."""
        self.skipped = reason

    def control(self, what: str, works: bool, seen: str = "") -> bool:
        """What an honest caller must be able to do. Without it, a boundary that holds says nothing:
        a target that answers nobody leaks nothing."""
        self.controls += 1
        if not works:
            self.findings.append(Finding(Verdict.unjudged, self.asked(), what, seen))
        return works

    def boundary(self, what: str, holds: bool, seen: str = "") -> None:
        """What must not be possible."""
        self.boundaries += 1
        if not holds:
            self.findings.append(Finding(Verdict.leak, self.asked(), what, seen))

    @property
    def verdict(self) -> Verdict:
        """A leak if any boundary broke; else unjudged if a control failed, or nothing was asked
        though it could have been."""
        kinds = {finding.kind for finding in self.findings}
        if Verdict.leak in kinds:
            return Verdict.leak
        if self.skipped is not None and not kinds:
            return Verdict.skipped
        complete = self.controls and self.boundaries
        return Verdict.held if complete and not kinds else Verdict.unjudged

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        return {
            "verdict": self.verdict.value,
            "controls": self.controls,
            "boundaries": self.boundaries,
            "findings": [asdict(finding) for finding in self.findings],
        } | ({} if self.skipped is None else {"skipped": self.skipped})
