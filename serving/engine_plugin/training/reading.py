"""Several questions about one reading: the passages are computed once, each question is alone.

A prompt ends with its question. In place of that end, other questions stand beside it: each sees
what stands before the end, and itself, and none of the others; it stands at the place where it
would stand alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from serving.engine_plugin.training.job import Example


@dataclass(frozen=True, slots=True)
class Reading:
    """One sequence. ids, positions: of each token. spans: of the questions, each from its first
    token to behind its last; the first one begins where all part. before_answers: where an
    answer's next token is predicted. answers: that token."""

    ids: Any
    positions: Any
    spans: Sequence[tuple[int, int]]
    before_answers: Any
    answers: Any

    def mask(self) -> Any:
        """What each token sees, to be added; None for a single question, which sees all before."""
        if len(self.spans) == 1:
            return None
        length = len(self.ids)
        seen = torch.ones(length, length, dtype=torch.bool).tril()
        first = self.spans[0][0]
        for begin, end in self.spans:
            seen[begin:end, first:begin] = False
        hidden = torch.zeros(length, length).masked_fill(~seen, torch.finfo(torch.float32).min)
        return hidden[None, None]


def read(tokenizer: Any, example: Example) -> Reading:
    """The example's questions after their common passages."""
    prompt = tokenizer.apply_chat_template(
        list(example.messages), add_generation_prompt=True, tokenize=False
    )
    # At a space no token reaches over: two halves have the tokens of the whole.
    common, found, end = prompt.rpartition(f" {example.question}")
    if not found:
        raise ValueError("a prompt that does not end with its question")
    ids: list[int] = tokenizer.encode(common, add_special_tokens=False)
    positions = list(range(len(ids)))
    shared = len(ids)
    spans: list[tuple[int, int]] = []
    before: list[int] = []
    answers: list[int] = []
    for question, answer in [(example.question, example.answer), *example.also]:
        own = tokenizer.encode(f" {question}{end}", add_special_tokens=False)
        told = [*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
        begin = len(ids)
        ids += [*own, *told]
        positions += range(shared, shared + len(own) + len(told))
        spans.append((begin, len(ids)))
        before += range(begin + len(own) - 1, len(ids) - 1)
        answers += told
    tensors = [torch.tensor(one) for one in (ids, positions, before, answers)]
    return Reading(tensors[0], tensors[1], spans, tensors[2], tensors[3])
