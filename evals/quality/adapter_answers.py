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

from evals.quality.demo import Deployment, EvaluationError, asked
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

    fact: the asked fact stands in it, in whole words. cited: it marks a passage that states the
    fact, of the document that holds it. first_holds: the best passage found is such a one, so that
    an answer that always marks [1] would be right. named: it names the customer, whom the model saw
    as a placeholder, and holds no placeholder that was not restored. declined: it says that it does
    not know. refused: by the gateway, before any model. ended: by itself, and not at the limit.
    """

    model: str
    question: str
    answer: str
    fact: bool
    cited: bool
    first_holds: bool
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
    deployment: Deployment,
    tenant: str,
    asking: HeldOut,
    model: str,
    client: httpx.AsyncClient,
    most_tokens: int | None = None,
) -> Verdict:
    """One question to one model, decoded greedily. most_tokens: None, as many as the gateway lets.

    Raises:
        EvaluationError: the gateway refuses; an adapter that is not there, too.
    """
    messages = [{"role": "user", "content": asking.question}]
    body = {"model": model, "messages": messages, "temperature": 0}
    if most_tokens is not None:
        body["max_tokens"] = most_tokens
    return judged(asking, model, await asked(client, body, deployment.headers(tenant)))


def judged(asking: HeldOut, model: str, reply: dict[str, Any]) -> Verdict:
    """What an answer is worth."""
    choice = reply["choices"][0]
    text: str = choice["message"]["content"]
    right = [_holds(citation, asking) for citation in reply["citations"]]
    marked = [citation["cited"] for citation in reply["citations"]]
    named = asking.customer is not None and asking.customer in text
    return Verdict(
        model=model,
        question=asking.question,
        answer=text,
        fact=asking.fact is not None and states(text, asking.fact),
        cited=any(holds and mark for holds, mark in zip(right, marked, strict=True)),
        first_holds=right[:1] == [True],
        named=named and _LEFT_OVER.search(text) is None,
        declined=declines(text),
        refused=reply["usage"]["prompt_tokens"] == 0,
        ended=choice["finish_reason"] == "stop",
    )


def _holds(citation: dict[str, Any], asking: HeldOut) -> bool:
    """Whether the passage is one that answers."""
    of_document = citation["document_id"] == asking.document
    return of_document and asking.fact is not None and states(citation["quote"], asking.fact)


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


async def weights_of(deployment: Deployment, adapter: str) -> dict[str, str]:
    """By merchant: the SHA-256 of the weights that answer to this name, the newest version's.

    Raises:
        EvaluationError: a merchant has no adapter of this name.
    """
    digests = {}
    async with httpx.AsyncClient(base_url=deployment.base_url, timeout=60) as client:
        for tenant in deployment.keys:
            listed = (await client.get("/v1/adapters", headers=deployment.headers(tenant))).json()
            own = [one for one in listed["data"] if one["name"] == adapter]
            if not own:
                raise EvaluationError(f"{tenant} has no adapter {adapter}.")
            newest = max(own, key=lambda one: int(one["version"]))
            digests[tenant] = newest["files"]["adapter_model.safetensors"]["sha256"]
    return digests
