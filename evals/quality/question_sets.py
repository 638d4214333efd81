"""The questions of `evals/quality/questions`: two halves, and fresh ones for no choice at all."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rag.prompt import Message

Half = Literal["development", "test"]
Part = Half | Literal["fresh"]
_FOLDER = Path(__file__).parent / "questions"
FOLLOW_UP = "follow_up"
SCENARIO = "scenario"


@dataclass(frozen=True, slots=True)
class Asked:
    """A conversation up to the question, and the documents that answer it; none: none does."""

    id: str
    conversation: tuple[Message, ...]
    relevant: frozenset[str]
    kind: str

    @property
    def text(self) -> str:
        """The last turn by itself."""
        return self.conversation[-1].content


def questions(name: str) -> list[Asked]:
    """One of the sets, in its order."""
    lines = (_FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [_asked(json.loads(line)) for line in lines]


def part(name: str, which: Part) -> list[Asked]:
    """One half, or the fresh questions: written after every choice was made, to report on only."""
    return questions(f"fresh/{name}") if which == "fresh" else half(questions(name), which)


def scenarios(path: Path) -> list[Asked]:
    """The long scenarios that come with the support articles: one JSON object a line."""
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Asked(
            entry["id"],
            (Message("user", entry["scenario"]),),
            frozenset(entry["relevant"]),
            SCENARIO,
        )
        for entry in entries
    ]


def half(asked: Sequence[Asked], which: Half) -> list[Asked]:
    """Every second question of each kind, in the order of the file: the first is of development."""
    by_kind: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        by_kind[one.kind].append(one)
    begin = 0 if which == "development" else 1
    return [one for same in by_kind.values() for one in same[begin::2]]


def answerable(asked: Sequence[Asked]) -> list[Asked]:
    """Those that some document answers."""
    return [one for one in asked if one.relevant]


def _asked(entry: dict[str, Any]) -> Asked:
    turns = [*entry.get("history", []), {"role": "user", "content": entry["question"]}]
    conversation = tuple(Message(turn["role"], turn["content"]) for turn in turns)
    return Asked(entry["id"], conversation, frozenset(entry["relevant"]), entry["kind"])
