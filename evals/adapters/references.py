"""What each version says when it is asked alone, on questions whose answers nothing can turn.

Batching changes the order of sums, and so the last bits of a logit. A question is used only if, at
each token of each version's answer, no other token comes near the best one: drawn at a low
temperature from all that are within `_MARGIN` of it, the answer is always the greedy one.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from evals.adapter_platform import Merchant
from evals.adapters.tap import Tap
from serving.adapters.names import BASE

NAME = "voice"
TOKENS = 3
# Of logits. Float32 sums of another order differ by some 1e-6.
_MARGIN, _TEMPERATURE = 0.002, 0.003
_WORDS = ("table", "window", "paper", "bottle", "garden", "pencil", "basket", "candle", "carpet")
_LENGTH = 60

Key = tuple[str, str, str]  # tenant, model, question


@dataclass(frozen=True, slots=True)
class References:
    """Answers by tenant, model (`voice@2`) and question. tried: questions that were looked at."""

    answers: dict[Key, str]
    questions: tuple[str, ...]
    tried: int


class NoQuestionsError(Exception):
    """Too few questions have answers that tell the adapters apart and nothing can turn."""


async def references(
    merchants: Sequence[Merchant],
    versions: int,
    tap: Tap,
    *,
    wanted: int,
    draws: int,
    progress: Callable[[str], object],
) -> References:
    """Ask one at a time, until `wanted` questions serve.

    Raises:
        NoQuestionsError: a tenth of what was tried would not do.
    """
    answers: dict[Key, str] = {}
    kept: list[str] = []
    tried = 0
    while len(kept) < wanted:
        if tried == 10 * wanted:
            raise NoQuestionsError
        tried += wanted
        progress(f"references: {len(kept)} of {wanted} questions")
        batch = [_question() for _ in range(wanted)]
        found = await _asked(merchants, versions, tap, batch, draws)
        for question in batch:
            own = {key: said for key, said in found.items() if key[2] == question}
            if None not in own.values() and len(set(own.values())) == len(own):
                answers |= {key: said for key, said in own.items() if said is not None}
                kept.append(question)
    questions = tuple(kept[:wanted])
    return References({k: v for k, v in answers.items() if k[2] in questions}, questions, tried)


async def _asked(
    merchants: Sequence[Merchant], versions: int, tap: Tap, questions: list[str], draws: int
) -> dict[Key, str | None]:
    """None: it may be turned. The base model too, once: who gets it in error is seen."""
    found: dict[Key, str | None] = {}
    models = [(merchants[0], BASE)]
    models += [(one, f"{NAME}@{n + 1}") for one in merchants for n in range(versions)]
    for merchant, model in models:
        for question in questions:
            greedy = (await merchant.ask(model, question, max_tokens=TOKENS)).text
            async with _drawn(tap):
                same = [
                    (await merchant.ask(model, question, max_tokens=TOKENS)).text == greedy
                    for _ in range(draws)
                ]
            found[merchant.name, model, question] = greedy if all(same) else None
    return found


@asynccontextmanager
async def _drawn(tap: Tap) -> AsyncGenerator[None, None]:
    tap.sampling = {"temperature": _TEMPERATURE, "min_p": math.exp(-_MARGIN / _TEMPERATURE)}
    try:
        yield
    finally:
        tap.sampling = None


def _question() -> str:
    # It begins with what no other begins with: two share no more than the system text.
    return " ".join([secrets.token_hex(4), *(secrets.choice(_WORDS) for _ in range(_LENGTH))])
