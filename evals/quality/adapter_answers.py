"""Held-out questions to each demo merchant, once to the base model and once to its adapter.

Everything between question and answer is the product's: retrieval, masking, prompt, guard. The
questions are in no training data, and of the documents that answer them the adapter has seen no
passage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from evals.quality.demo import Deployment, asked
from evals.quality.question_sets import questions
from serving.rollout.evaluation import states
from serving.rollout.refusals import declines

BASE = "base"
_FOLDER = Path(__file__).parent / "held_out"
_LEFT_OVER = re.compile(r"<[A-Z][A-Z_]*_[0-9]+>")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A question. fact: None, no document answers it. customer: who says their name in it. fresh:
    written after the recipe was settled, so that nothing was chosen by it."""

    question: str
    document: str | None = None
    fact: str | None = None
    customer: str | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer, judged.

    fact: the asked fact stands in it, in whole words. cited: it marks a passage of the document
    that holds the fact. named: it names the customer, whom the model saw as a placeholder, and
    holds no placeholder that was not restored. declined: it says that it does not know. refused: by
    the gateway, before any model. ended: by itself, and not at the limit.
    """

    model: str
    question: str
    answer: str
    fact: bool
    cited: bool
    named: bool
    declined: bool
    refused: bool
    ended: bool


def held_out(tenant: str) -> list[HeldOut]:
    """A merchant's questions: with a fact, and those that no document answers."""
    lines = (_FOLDER / f"{tenant}.jsonl").read_text(encoding="utf-8").splitlines()
    absent = [*questions(tenant), *questions(f"fresh/{tenant}")]
    return [
        *(HeldOut(**json.loads(line)) for line in lines),
        *(HeldOut(one.text) for one in absent if one.kind == "absent"),
    ]


async def ask(
    deployment: Deployment, tenant: str, asking: HeldOut, model: str, client: httpx.AsyncClient
) -> Verdict:
    """One question to one model, decoded greedily.

    Raises:
        EvaluationError: the gateway refuses; an adapter that is not there, too.
    """
    messages = [{"role": "user", "content": asking.question}]
    body = {"model": model, "messages": messages, "temperature": 0}
    headers = {"Authorization": f"Bearer {deployment.keys[tenant]}"}
    return judged(asking, model, await asked(client, body, headers))


def judged(asking: HeldOut, model: str, reply: dict[str, Any]) -> Verdict:
    """What an answer is worth."""
    choice = reply["choices"][0]
    text: str = choice["message"]["content"]
    cited = [c["document_id"] for c in reply["citations"] if c["cited"]]
    named = asking.customer is not None and asking.customer in text
    return Verdict(
        model=model,
        question=asking.question,
        answer=text,
        fact=asking.fact is not None and states(text, asking.fact),
        cited=asking.document in cited,
        named=named and _LEFT_OVER.search(text) is None,
        declined=declines(text),
        refused=reply["usage"]["prompt_tokens"] == 0,
        ended=choice["finish_reason"] == "stop",
    )


async def ask_all(
    deployment: Deployment,
    adapter: str,
    most: int | None,
    progress: Callable[[], None],
) -> dict[str, list[tuple[HeldOut, Verdict, Verdict]]]:
    """By merchant: each question with the base model's answer and the adapter's.

    most: of each merchant's questions; None, all.
    """
    asked_of: dict[str, list[tuple[HeldOut, Verdict, Verdict]]] = {}
    async with httpx.AsyncClient(base_url=deployment.base_url, timeout=600) as client:
        for tenant in deployment.keys:
            asked_of[tenant] = []
            for asking in held_out(tenant)[:most]:
                base = await ask(deployment, tenant, asking, BASE, client)
                own = await ask(deployment, tenant, asking, adapter, client)
                asked_of[tenant].append((asking, base, own))
                progress()
    return asked_of
