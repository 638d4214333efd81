"""Values written so that a person still reads them and a pattern does not: 18 kinds of disguise."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from evals.privacy.samples import Sample, Span
from evals.privacy.scores import is_hidden, rate
from isolation.masking.findings import Detector, without_overlaps


@dataclass(frozen=True, slots=True)
class HardString:
    """`sample` is fully masked when no letter or digit of any of its spans is left."""

    kind: str
    sample: Sample


def hard_strings() -> Iterator[HardString]:
    """All of them, with the half that each belongs to."""
    text = files("evals.privacy").joinpath("texts", "hard_strings.jsonl").read_text("utf-8")
    for line in text.splitlines():
        row = json.loads(line)
        spans = []
        for secret in row["secrets"]:
            start = row["text"].index(secret)
            spans.append(Span(start, start + len(secret), "SECRET"))
        yield HardString(row["kind"], Sample(row["text"], tuple(spans), row["half"]))


def score(detector: Detector) -> dict[str, Any]:
    """The rate of fully masked strings: of all, of each half, of each kind."""
    hidden: dict[str, list[bool]] = defaultdict(list)
    for each in hard_strings():
        found = without_overlaps(detector.find(each.sample.text))
        whole = all(is_hidden(each.sample.text, span, found) for span in each.sample.spans)
        for group in ("all", each.sample.half, f"kind: {each.kind}"):
            hidden[group].append(whole)
    return {group: rate(sum(found), len(found)) for group, found in hidden.items()}
