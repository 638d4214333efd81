"""Persons and addresses that a model writes and that nothing in the request held: what is removed.

A model writes names with capitals, so the values are those of the held-out half that are.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from evals.privacy.clean import clean
from evals.privacy.samples import HELD_OUT, Sample, filled
from evals.privacy.scores import rate
from isolation.masking.findings import Detector, Finding
from isolation.masking.given import Given
from isolation.masking.output_names import NAME_KINDS, ForeignNamesGuard


async def measured(
    detector: Detector, samples: Sequence[Sample], count: int, seed: int
) -> dict[str, Any]:
    """Of `count` answers with values of `samples`: how many values leave no word behind, how many
    answers are changed where the request held them, and how many of as many clean sentences are."""
    asked: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    changed = 0
    for answer in _answers(samples, count, seed):
        shown = await _guarded(detector, answer.text, [])
        for span in answer.spans:
            asked[span.entity] += 1
            removed[span.entity] += not _is_left(answer.text[span.start : span.end], shown)
        given = [answer.text[span.start : span.end] for span in answer.spans]
        changed += await _guarded(detector, answer.text, given) != answer.text
    harmless = [each.text for each in clean(count, seed)]
    alarms = [await _guarded(detector, text, []) != text for text in harmless]
    return {
        "removed": {kind: rate(removed[kind], asked[kind]) for kind in NAME_KINDS},
        "given_and_changed": rate(changed, count),
        "clean_and_changed": rate(sum(alarms), len(alarms)),
    }


def _answers(samples: Sequence[Sample], count: int, seed: int) -> Iterator[Sample]:
    text = files("evals.privacy").joinpath("texts", "answers.txt").read_text("utf-8")
    frames = [line.replace("\\n", "\n") for line in text.splitlines()]
    draw, values = random.Random(seed), {kind: _values(samples, kind) for kind in NAME_KINDS}
    for number in range(count):
        person, address = (draw.choice(values[kind]) for kind in NAME_KINDS)
        named = {"person": (person, "PERSON"), "address": (address, "STREET_ADDRESS")}
        yield filled(frames[number % len(frames)], named, HELD_OUT)


def _values(samples: Sequence[Sample], kind: str) -> list[str]:
    """Written with capitals, on one line."""
    found = {
        " ".join(sample.text[span.start : span.end].split())
        for sample in samples
        for span in sample.spans
        if sample.half == HELD_OUT and span.entity == kind
    }
    return sorted(value for value in found if not value.islower())


async def _guarded(detector: Detector, answer: str, given: list[str]) -> str:
    async def find(text: str) -> list[Finding]:
        return await asyncio.to_thread(detector.find, text)

    guard = ForeignNamesGuard(Given(given), NAME_KINDS, (), find)
    return await guard.feed(answer) + await guard.flush()


def _is_left(value: str, shown: str) -> bool:
    """Whether any word of the value that tells something is still there."""
    words = {word for word in re.findall(r"[^\W_]+", value) if len(word) > 2}
    return not words.isdisjoint(re.findall(r"[^\W_]+", shown))
