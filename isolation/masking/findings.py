"""What a detector finds in a text: where, and of which kind. Never the text itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Finding:
    """`text[start:end]` is personal data of kind `entity`, as `score` (0 to 1) says."""

    start: int
    end: int
    entity: str
    score: float = 1.0

    def moved(self, by: int) -> Finding:
        """The same, so many characters further on."""
        return Finding(self.start + by, self.end + by, self.entity, self.score) if by else self


class Detector(Protocol):
    """Finds personal data, by rules or by a model such as GLiNER. May be slow. No text that it is
    given holds half a character (a lone surrogate)."""

    def find(self, text: str, locale: str | None = None) -> list[Finding]:
        """All findings, in any order; they may overlap.

        locale: the country (ISO 3166-1) that numbers without a country code are of, if known.
        """


class Analyzer(Protocol):
    """A detector that is asked without blocking the event loop."""

    @property
    def version(self) -> str:
        """Changes whenever the same text may be found to hold something else."""

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        """All findings, in any order; they may overlap."""


def without_overlaps(findings: Iterable[Finding]) -> list[Finding]:
    """The findings to act on, in order: the longest of those that overlap, then the surest.

    Longest, because a part left over of a longer one would go out in clear.
    """
    chosen: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (f.start - f.end, -f.score, f.start)):
        if all(finding.end <= other.start or other.end <= finding.start for other in chosen):
            chosen.append(finding)
    return sorted(chosen, key=lambda f: f.start)
