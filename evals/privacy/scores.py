"""Recall, full masking and precision of a detector, with Wilson's 95% intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from evals.privacy.samples import Sample, Span
from isolation.masking.findings import Finding

_Z = 1.959964
# What Presidio as it comes calls the kinds that it has under another name.
_SAME = {"LOCATION": "STREET_ADDRESS", "DATE_TIME": "DATE_OF_BIRTH", "US_ITIN": "US_SSN"}


@dataclass(slots=True)
class Scores:
    """Counts over samples. Feed them with `add`, read them with `as_json`."""

    asked: Counter[str] = field(default_factory=Counter)
    recalled: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)
    found: int = 0
    right: int = 0

    def add(self, sample: Sample, findings: Sequence[Finding]) -> None:
        """Judge what was found in one sample; `findings` do not overlap."""
        for span in sample.spans:
            self.asked[span.entity] += 1
            self.recalled[span.entity] += is_recalled(sample.text, span, findings)
            self.hidden[span.entity] += is_hidden(sample.text, span, findings)
        self.found += len(findings)
        self.right += sum(_is_right(finding, sample.spans) for finding in findings)

    def as_json(self) -> dict[str, Any]:
        """recall: at least half of the value found, under its kind. full_mask: no letter or digit
        of it left in clear, under whatever kind. precision: findings that touch a value."""
        entities = {
            entity: {
                "n": count,
                "recall": rate(self.recalled[entity], count),
                "full_mask": rate(self.hidden[entity], count),
            }
            for entity, count in sorted(self.asked.items())
        }
        total = self.asked.total()
        return {
            "entities": entities,
            "recall": rate(self.recalled.total(), total),
            "full_mask": rate(self.hidden.total(), total),
            "precision": rate(self.right, self.found),
        }


def rate(part: int, whole: int) -> dict[str, Any]:
    """`part` of `whole`, with Wilson's interval."""
    if not whole:
        return {"value": None, "n": 0}
    share, z2 = part / whole, _Z * _Z
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z / (1 + z2 / whole) * sqrt(share * (1 - share) / whole + z2 / (4 * whole * whole))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return {"value": round(share, 4), "ci95": [round(low, 4), round(high, 4)], "n": whole}


def is_recalled(text: str, span: Span, findings: Iterable[Finding]) -> bool:
    """Whether findings of its kind cover at least half of what counts in it."""
    same = [f for f in findings if _SAME.get(f.entity, f.entity) == span.entity]
    counted = _counted(text, span)
    return 2 * len(counted & _covered(same)) >= len(counted)


def is_hidden(text: str, span: Span, findings: Iterable[Finding]) -> bool:
    """Whether no letter and no digit of it is left in clear."""
    return _counted(text, span) <= _covered(findings)


def _counted(text: str, span: Span) -> set[int]:
    return {i for i in range(span.start, span.end) if text[i].isalnum()}


def _covered(findings: Iterable[Finding]) -> set[int]:
    return {i for finding in findings for i in range(finding.start, finding.end)}


def _is_right(finding: Finding, spans: Iterable[Span]) -> bool:
    return any(finding.start < span.end and span.start < finding.end for span in spans)
