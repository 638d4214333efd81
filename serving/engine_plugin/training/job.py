"""What to train, as it comes over standard input: nothing of it is ever written to a disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation up to the question, and the answer to learn.

    question: what the last message ends with. also: other questions in its place, with answers.
    """

    messages: Sequence[Mapping[str, str]]
    question: str
    answer: str
    also: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training. `examples` are seen in this order, each once: epochs are written out.

    model: the base model's folder. folder: where checkpoint and adapter go. base: the name that
    the adapter gives its base. first_layer: the ones below learn nothing. batch: examples of one
    step of the optimizer. digest: of everything that the outcome depends on; a checkpoint of
    another job is not gone on with. start: the `folder` of the adapter to begin with, and the
    digest of its weights.
    """

    model: Path
    folder: Path
    base: str
    rank: int
    alpha: int
    modules: Sequence[str]
    first_layer: int
    rate: float
    batch: int
    seed: int
    start: Mapping[str, str] | None
    checkpoint_steps: int
    digest: str
    examples: Sequence[Example]

    @property
    def steps(self) -> int:
        """Steps of the optimizer."""
        return -(-len(self.examples) // self.batch)

    def of_step(self, step: int) -> Sequence[Example]:
        """The examples of step `step`, counted from 0."""
        return self.examples[step * self.batch : (step + 1) * self.batch]


def read_job(text: str) -> TrainingJob:
    """The job that `serving.training.process` wrote."""
    content: dict[str, Any] = json.loads(text)
    content["examples"] = [Example(**example) for example in content["examples"]]
    content |= {name: Path(content[name]) for name in ("model", "folder")}
    return TrainingJob(**content)
