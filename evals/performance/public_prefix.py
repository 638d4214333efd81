"""What a public prefix saves: first turns of new tenants, with it and without, in turns.

Each new tenant has a namespace of its own, and asks once with the text that is public and once with
one that differs in its first word: so one engine, in one run, shows both.
"""

from __future__ import annotations

import random
import secrets
import statistics
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from evals.performance.engine_side import Answer, Asker, Progress, running_sides
from isolation.namespaces import Namespace
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.prompt import system_turn
from serving.engine.client import EngineClient
from serving.engine.launch import Worker
from serving.engine.public import EnginePublic, PublicPrefix
from serving.gateway.tool_text import offer

_RULES = (
    "Speak as one of the team. Greet the customer by name if it is known, and only once. Never "
    "promise a refund, a date or a price that the sources do not state. For a damaged parcel ask "
    "for a photograph and the order number, and say that a colleague answers within a day. Do not "
    "speak about competitors, politics or the weather. If the customer is angry, say sorry first, "
    "then solve it. Offer to look up an order instead of guessing its state."
)
_FIELDS = {
    "find_order": ("number", "The order number, as on the invoice, with its letters."),
    "find_parcel": ("tracking", "The carrier's tracking number, without spaces."),
    "open_ticket": ("summary", "One sentence that says what the customer wants."),
}
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"{name.replace('_', ' ').capitalize()} for the customer who asks.",
            "parameters": {
                "type": "object",
                "properties": {field: {"type": "string", "description": description}},
                "required": [field],
            },
        },
    }
    for name, (field, description) in _FIELDS.items()
]
# A gateway's text, an operator's house rules, and the tools as the default model is told of them.
SHARED = system_turn([_RULES, offer(_TOOLS)]).content


@dataclass(frozen=True, slots=True)
class Newcomers:
    """How many tenants' first turns, on each side; words of their questions, of four or five
    tokens."""

    tenants: int = 10
    words: int = 8


@asynccontextmanager
async def running(worker: Worker, progress: Progress) -> AsyncGenerator[EngineClient, None]:
    """Our engine alone, as the rest of the benchmark starts it."""
    plain = replace(worker, kernels="stock")
    async with running_sides(plain, progress, {"scrub_on": True}, {}) as sides:
        yield sides["scrub_on"]


async def measured(client: EngineClient, plan: Newcomers, progress: Progress) -> dict[str, Any]:
    """First turns' cached tokens and time to the first token, with the prefix and without. The
    engine's cache is empty before and after."""
    public, operator = EnginePublic(client), operator_for_tests()
    await public.flush(operator)
    length = await public.publish(operator, PublicPrefix([_system(SHARED)]))
    answers: dict[str, list[Answer]] = {"with": [], "without": []}
    for number in range(plan.tenants):
        progress(f"public prefix: new tenant {number + 1} of {plan.tenants}")
        for side in random.sample(list(answers), len(answers)):
            text = SHARED if side == "with" else f"Now. {SHARED}"
            answers[side].append(await _first_turn(client, number, text, plan.words))
    await public.flush(operator)
    sides = {side: _summary(given) for side, given in answers.items()}
    saved = 1 - sides["with"]["first_token_ms"] / sides["without"]["first_token_ms"]
    return {"public_tokens": length, **sides, "saved": round(saved, 3)}


async def _first_turn(client: EngineClient, number: int, text: str, words: int) -> Answer:
    asker = Asker(client, tenant_for_tests(f"new-{number}"), Namespace(secrets.token_hex(32)))
    question = " ".join(secrets.token_hex(2) for _ in range(words))
    return await asker.ask([_system(text), {"role": "user", "content": question}], 1)


def _system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def _summary(answers: Sequence[Answer]) -> dict[str, Any]:
    cached = [answer.usage.cached for answer in answers]
    return {
        "tenants": len(answers),
        "prompt_tokens": round(statistics.mean(answer.usage.prompt for answer in answers), 1),
        "least_cached_tokens": min(cached),
        "most_cached_tokens": max(cached),
        "first_token_ms": round(1_000 * statistics.median(a.seconds for a in answers), 1),
    }
