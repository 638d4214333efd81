"""A training, written out: which examples the adapter sees, in which order, with which options."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.adapters.base_model import ATTENTION, BaseModel
from serving.adapters.weights import WEIGHTS_FILE
from serving.training.examples import Example
from serving.training.varied import varied


@dataclass(frozen=True, slots=True)
class Options:
    """What may be chosen. rate: of Adam, at its highest. vary: other numbers in later epochs.
    batch: examples of one step. start: the folder of the adapter to begin with; None: a new one."""

    rank: int
    epochs: int
    seed: int
    rate: float
    vary: bool
    batch: int = 2
    start: Path | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The job for the child, without the folder that it works in."""

    content: dict[str, Any]

    @property
    def digest(self) -> str:
        """Of all that the outcome depends on."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()

    def job(self, folder: Path) -> bytes:
        """What the child reads."""
        whole = self.content | {"folder": str(folder.absolute()), "digest": self.digest}
        return json.dumps(whole).encode()


def plan(examples: Sequence[Example], options: Options, base: BaseModel, model: Path) -> Plan:
    """The training of one adapter. The same arguments give the same plan.

    The upper two thirds of the layers learn: time is saved, since no gradient goes further down.
    """
    content = {
        "model": str(model.absolute()),
        "base": base.name,
        "rank": options.rank,
        "alpha": 2 * options.rank,
        "modules": list(ATTENTION),
        "first_layer": base.layers // 3,
        "rate": options.rate,
        "batch": options.batch,
        "seed": options.seed,
        "start": None if options.start is None else _start(options.start),
        "checkpoint_steps": 5,
        "examples": [_shown(example) for example in _epochs(examples, options)],
    }
    return Plan(content)


def _epochs(examples: Sequence[Example], options: Options) -> list[Example]:
    """All epochs one after the other, each in an order of its own."""
    rng = random.Random(options.seed)
    seen: list[Example] = []
    for epoch in range(options.epochs):
        order = rng.sample(examples, len(examples))
        seen += [varied(each, rng) if options.vary and epoch else each for each in order]
    return seen


def _shown(example: Example) -> dict[str, Any]:
    return {
        "messages": example.messages(),
        "question": example.question,
        "answer": example.answer,
        "also": [[one.question, one.answer] for one in example.also],
    }


def _start(folder: Path) -> dict[str, str]:
    digest = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    return {"folder": str(folder.absolute()), "sha256": digest}
