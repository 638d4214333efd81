"""Does an answer come from the passages? The documents are changed, or taken away, and asked again.

The running demo's documents are the ones that change, since everything between document and answer
is the product's; they are put back at the end.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx

from evals.quality.adapter_answers import BASE, HeldOut, Verdict, ask, held_out
from evals.quality.adapter_report import Answers, compared, told
from evals.quality.demo import Deployment, EvaluationError
from rag.documents import Document
from rag.reading.reader import read_bytes
from serving.training.examples import Asked, Example
from serving.training.varied import varied

_SEED = 7
# An answer that states what was asked does so in its first sentence.
_MOST_TOKENS = 64


async def ablations(
    deployment: Deployment, adapter: str, most: int, progress: Callable[[], None]
) -> dict[str, Any]:
    """Both models on `most` questions of each merchant, with other numbers and without documents.

    Raises:
        EvaluationError: the gateway refuses.
    """
    changed: dict[str, Answers] = {}
    removed: dict[str, Answers] = {}
    async with httpx.AsyncClient(base_url=deployment.base_url, timeout=600) as client:
        for tenant in deployment.keys:
            documents, asked = changes(deployment, tenant, most)
            async with _restored(client, deployment, tenant, sorted(documents)):
                for document in documents.values():
                    await _put(client, deployment, tenant, document)
                changed[tenant] = await _ask(client, deployment, tenant, adapter, asked, progress)
                for name in documents:
                    path = f"/v1/documents/{name}"
                    _check(await client.delete(path, headers=deployment.headers(tenant)))
                absent = [HeldOut(one.question, customer=one.customer) for one in asked]
                removed[tenant] = await _ask(client, deployment, tenant, adapter, absent, progress)
    return {
        "numbers_changed": {
            name: {
                "changed_number_stated": compared(answers, lambda v: v.fact),
                "changed_number_stated_and_cited": compared(answers, lambda v: v.fact and v.cited),
            }
            for name, answers in _with_all(changed).items()
        },
        "documents_removed": {
            name: {
                "declined_or_refused": compared(answers, lambda v: v.declined or v.refused),
                "declined_where_a_model_was_asked": compared(
                    [one for one in answers if not one[1].refused], lambda v: v.declined
                ),
            }
            for name, answers in _with_all(removed).items()
        },
        "answers": {
            "numbers_changed": {t: told(answers) for t, answers in changed.items()},
            "documents_removed": {t: told(answers) for t, answers in removed.items()},
        },
    }


def changes(
    deployment: Deployment, tenant: str, most: int
) -> tuple[dict[str, Document], list[HeldOut]]:
    """The documents with other numbers, and the questions whose facts are such numbers now."""
    chance = random.Random(_SEED)
    held = [one for one in held_out(tenant) if one.document is not None]
    documents, asked = {}, []
    for name in sorted({one.document for one in held if one.document is not None}):
        own = [one for one in held if one.document == name]
        original = _original(deployment, tenant, name)
        # Numbers in a question ("what are 500 points worth?") change with the document's.
        also = tuple(Asked(question=one.question, answer=str(one.fact)) for one in own)
        texts = (original.text, original.title)
        whole = Example(tenant=tenant, question="-", passages=texts, answer="-", also=also)
        other = varied(whole, chance)
        text, title = other.passages
        documents[name] = replace(original, text=text, title=title)
        for one, new in zip(own, other.also, strict=True):
            if new.answer != one.fact:
                asked.append(replace(one, question=new.question, fact=new.answer))
    return documents, chance.sample(asked, min(most, len(asked)))


def _original(deployment: Deployment, tenant: str, name: str) -> Document:
    path = deployment.merchants / tenant / "documents" / name
    return read_bytes(name, path.read_bytes(), name)


async def _ask(
    client: httpx.AsyncClient,
    deployment: Deployment,
    tenant: str,
    adapter: str,
    asked: Sequence[HeldOut],
    progress: Callable[[], None],
) -> Answers:
    answers = []
    for asking in asked:
        base = await ask(deployment, tenant, asking, BASE, client, _MOST_TOKENS)
        own = await ask(deployment, tenant, asking, adapter, client, _MOST_TOKENS)
        answers.append((asking, base, own))
        progress()
    return answers


async def _put(
    client: httpx.AsyncClient, deployment: Deployment, tenant: str, document: Document
) -> None:
    body = {"id": document.id, "title": document.title, "text": document.text}
    _check(await client.post("/v1/documents", json=body, headers=deployment.headers(tenant)))


@asynccontextmanager
async def _restored(
    client: httpx.AsyncClient, deployment: Deployment, tenant: str, names: Sequence[str]
) -> AsyncGenerator[None]:
    """Whatever happens, the documents are as they were afterwards."""
    try:
        yield
    finally:
        for name in names:
            content = (deployment.merchants / tenant / "documents" / name).read_bytes()
            path = f"/v1/documents/{name}"
            _check(await client.put(path, content=content, headers=deployment.headers(tenant)))


def _check(answer: httpx.Response) -> None:
    if answer.is_error:
        raise EvaluationError(f"the gateway refuses a document: {answer.status_code}.")


def _with_all(answers: dict[str, Answers]) -> dict[str, list[tuple[HeldOut, Verdict, Verdict]]]:
    everything = [one for own in answers.values() for one in own]
    return {name: list(own) for name, own in answers.items()} | {"all": everything}
