"""What an adapter learns from: question-answer pairs, and examples, which have passages too.

A pair is what a merchant writes: `{"question", "answer", "document"}`, where the answer marks its
source as `[source]`, and a question that no document answers has no `document`. An example is what
the model sees: the passages that the search really finds for the question, wrong ones among them.
Both hold placeholders (`<PERSON_1>`) where the platform masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from isolation.tenant_id import TenantId
from rag.prompt import Message, lay_out
from serving.training.lines import read_lines, wrong

SOURCE = "[source]"
# A prompt of the product has some hundred tokens; memory and time grow with the longest example.
MOST_TOKENS = 2_048

_Text = Annotated[str, StringConstraints(min_length=1, max_length=20_000, pattern=r"\S")]
CountMessages = Callable[[Sequence[dict[str, str]]], int]


class Pair(BaseModel):
    """A question and its answer. document: where the answer stands; None: nowhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: _Text
    answer: _Text
    document: _Text | None


class Asked(BaseModel):
    """One more question about the same passages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: _Text
    answer: _Text


class Example(BaseModel):
    """A question, the passages found for it, best first, and the answer to learn.

    also: further questions about these passages. They cost a part of an example each, since the
    passages are read once, and it is they that teach to read: the same text, and another sentence
    of it is asked for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant: _Text
    question: _Text
    passages: tuple[_Text, ...]
    answer: _Text
    also: tuple[Asked, ...] = ()

    @property
    def questions(self) -> list[str]:
        """All that is asked about the passages."""
        return [self.question, *(one.question for one in self.also)]

    def messages(self) -> list[dict[str, str]]:
        """The prompt, exactly as a chat lays it out."""
        laid_out = lay_out([Message("user", self.question)], self.passages)
        return [{"role": message.role, "content": message.content} for message in laid_out]


def read_pairs(path: Path) -> list[Pair]:
    """Pairs of a JSON Lines file.

    Raises:
        ExamplesError: a line is not one, or an answer and its `document` do not fit.
    """
    pairs = read_lines(path, Pair)
    for number, pair in pairs:
        if (SOURCE in pair.answer) != (pair.document is not None):
            raise wrong(
                path, number, f"an answer marks {SOURCE} where, and only where, a document holds it"
            )
    return [pair for _, pair in pairs]


def read_examples(path: Path, tenant: TenantId, count: CountMessages) -> list[Example]:
    """Examples of a JSON Lines file, all of them this tenant's.

    Raises:
        ExamplesError: a line is not one, is another tenant's, or is too long.
    """
    examples = read_lines(path, Example)
    for number, example in examples:
        if example.tenant != tenant:
            raise wrong(path, number, "it is another tenant's; an adapter learns from its own only")
        asked = [
            example.answer,
            *(text for one in example.also for text in (one.question, one.answer)),
        ]
        length = count([*example.messages(), *({"role": "assistant", "content": a} for a in asked)])
        if length > MOST_TOKENS:
            raise wrong(path, number, f"it has {length:,} tokens, and at most {MOST_TOKENS:,} fit")
    return [example for _, example in examples]


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write examples, readable by their owner only: they hold passages of the documents."""
    making = path.with_name(f"{path.name}.making")
    making.touch(mode=0o600)
    making.write_text("".join(f"{example.model_dump_json()}\n" for example in examples))
    making.replace(path)
