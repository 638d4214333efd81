"""Ten questions to each demo merchant: are the cited passages the right ones, and its own?

The merchants state contradicting facts about the same topics (`examples/merchants`), so a passage
of the other one is seen at once.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from isolation.errors import BulkheadError


class EvaluationError(BulkheadError):
    """The evaluation could not be run."""

    code = "evaluation_failed"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, where its answer stands, and what the other merchant would say."""

    question: str
    document_id: str
    fact: str
    foreign_fact: str


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer, judged."""

    tenant: str
    question: str
    streamed: bool
    answer: str
    cited_documents: list[str]
    right_passage: bool
    right_passage_first: bool
    fact_in_answer: bool
    foreign: bool
    cached_tokens: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Deployment:
    """A running demo: `demo.json` of its data folder, and the merchants' folder."""

    base_url: str
    keys: dict[str, str]
    merchants: Path

    @classmethod
    def of(cls, demo_file: Path, merchants: Path) -> Deployment:
        """Raises EvaluationError when either is not there."""
        try:
            demo = json.loads(demo_file.read_text())
        except (OSError, ValueError):
            message = f"{demo_file} is not there. Start the demo first: make serve."
            raise EvaluationError(message) from None
        keys = {tenant["id"]: tenant["api_key"] for tenant in demo["tenants"]}
        return cls(demo["base_url"], keys, merchants)

    def headers(self, tenant: str) -> dict[str, str]:
        """Whoever sends them is this tenant."""
        return {"Authorization": f"Bearer {self.keys[tenant]}"}

    def questions(self, tenant: str) -> list[Question]:
        """The tenant's questions."""
        path = self.merchants / tenant / "questions.json"
        try:
            return [Question(**entry) for entry in json.loads(path.read_text())]
        except OSError:
            raise EvaluationError(f"{path} is not there.") from None

    def canaries(self, tenant: str) -> list[str]:
        """What stands in this tenant's documents and nowhere else."""
        content = json.loads((self.merchants / tenant / "canaries.json").read_text())
        return list(content.values())


async def ask_all(deployment: Deployment, progress: Callable[[], None]) -> list[Answered]:
    """Every question to every merchant, streamed and not."""
    answers: list[Answered] = []
    async with httpx.AsyncClient(base_url=deployment.base_url, timeout=300) as client:
        for tenant in deployment.keys:
            for question in deployment.questions(tenant):
                for streamed in (False, True):
                    answers.append(await _ask(client, deployment, tenant, question, streamed))
                    progress()
    return answers


async def _ask(
    client: httpx.AsyncClient,
    deployment: Deployment,
    tenant: str,
    question: Question,
    streamed: bool,
) -> Answered:
    body = {"model": "base", "messages": [{"role": "user", "content": question.question}]}
    headers = {"Authorization": f"Bearer {deployment.keys[tenant]}"}
    if streamed:
        text, citations, usage = await _streamed(client, body, headers)
    else:
        text, citations, usage = await _whole(client, body, headers)
    quotes = " ".join(citation["quote"] for citation in citations)
    documents = [citation["document_id"] for citation in citations]
    others = [c for other in deployment.keys if other != tenant for c in deployment.canaries(other)]
    foreign = [question.foreign_fact, *others]
    return Answered(
        tenant=tenant,
        question=question.question,
        streamed=streamed,
        answer=text,
        cited_documents=documents,
        right_passage=question.document_id in documents and question.fact in quotes,
        right_passage_first=documents[:1] == [question.document_id],
        fact_in_answer=question.fact.lower() in text.lower(),
        foreign=any(sign in quotes or sign in text for sign in foreign),
        cached_tokens=usage["prompt_tokens_details"]["cached_tokens"],
        prompt_tokens=usage["prompt_tokens"],
    )


Answer = tuple[str, list[dict[str, Any]], dict[str, Any]]


async def _whole(
    client: httpx.AsyncClient, body: dict[str, Any], headers: dict[str, str]
) -> Answer:
    answer = await asked(client, body, headers)
    return answer["choices"][0]["message"]["content"], answer["citations"], answer["usage"]


async def asked(
    client: httpx.AsyncClient, body: dict[str, Any], headers: dict[str, str]
) -> dict[str, Any]:
    """The whole answer, as the gateway sends it. Raises EvaluationError on a refusal."""
    response = await client.post("/v1/chat/completions", json=body, headers=headers)
    _check(response)
    answer: dict[str, Any] = response.json()
    return answer


async def _streamed(
    client: httpx.AsyncClient, body: dict[str, Any], headers: dict[str, str]
) -> Answer:
    asked = body | {"stream": True, "stream_options": {"include_usage": True}}
    text: list[str] = []
    citations: list[dict[str, Any]] = []
    usage: dict[str, Any] = {}
    request = client.stream("POST", "/v1/chat/completions", json=asked, headers=headers)
    async with request as response:
        _check(response)
        async for event in _events(response):
            citations = event.get("citations", citations)
            usage = event.get("usage") or usage
            text += [c["delta"].get("content", "") for c in event["choices"]]
    return "".join(text), citations, usage


async def _events(response: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
    async for line in response.aiter_lines():
        if line.startswith("data: {"):
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                raise EvaluationError(f"The stream broke off: {event['error']['code']}.")
            yield event


def _check(response: httpx.Response) -> None:
    if response.is_error:
        raise EvaluationError(f"The gateway answered {response.status_code}.")


def summary(answers: list[Answered]) -> dict[str, Any]:
    """Counts over all answers and for each tenant."""
    tenants = sorted({answer.tenant for answer in answers})
    return {
        tenant: {
            "answers": len(own),
            "right_passage": sum(answer.right_passage for answer in own),
            "right_passage_first": sum(answer.right_passage_first for answer in own),
            "fact_in_answer": sum(answer.fact_in_answer for answer in own),
            "foreign": sum(answer.foreign for answer in own),
        }
        for tenant in tenants
        for own in [[answer for answer in answers if answer.tenant == tenant]]
    }


def as_json(answers: list[Answered]) -> list[dict[str, Any]]:
    """Every answer, as it was."""
    return [asdict(answer) for answer in answers]
