"""A tenant's evaluation set, asked of both versions of its rollout, as its customers would ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from serving.cli.client import CallFailedError, call, refusal
from serving.rollout.evaluation import Case

# A rate limit is the tenant's own: the evaluation waits as any caller does.
_BUSY = {429, 503}
_MOST_WAITS, _LONGEST_WAIT = 100, 60.0


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A version's scores, from 0 to 1, one for each question."""

    version: int
    scores: list[float]

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)


async def evaluate(
    own: httpx.AsyncClient, name: str, cases: Sequence[Case], progress: Callable[[], object]
) -> list[Evaluated]:
    """The control's and the candidate's scores, in this order; greedy, one question at a time.

    Raises:
        CallFailedError: there is no rollout, or a question was refused.
    """
    rollout = (await call(own, "GET", f"/v1/adapters/{name}/rollouts"))["data"][-1]
    scores: dict[int, list[float]] = {rollout["control"]: [], rollout["candidate"]: []}
    for case in cases:
        for version, own_scores in scores.items():
            own_scores.append(case.score(await _answer(own, f"{name}@{version}", case.question)))
            progress()
    return [Evaluated(version, own_scores) for version, own_scores in scores.items()]


async def send(own: httpx.AsyncClient, name: str, evaluated: Evaluated) -> None:
    """Tell the rollout's quality gate.

    Raises:
        CallFailedError: the rollout does not run.
    """
    body = {"version": evaluated.version, "scores": evaluated.scores}
    await call(own, "POST", f"/v1/adapters/{name}/rollouts/scores", json=body)


async def _answer(own: httpx.AsyncClient, model: str, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    body: dict[str, Any] = {"model": model, "messages": messages, "temperature": 0}
    for _ in range(_MOST_WAITS):
        try:
            response = await own.post("/v1/chat/completions", json=body)
        except httpx.HTTPError:
            raise CallFailedError("The gateway does not answer. Is it still running?") from None
        if response.status_code not in _BUSY:
            break
        await asyncio.sleep(min(_LONGEST_WAIT, float(response.headers.get("Retry-After", "1"))))
    if response.is_error:
        raise CallFailedError(refusal(response))
    said: str = response.json()["choices"][0]["message"]["content"] or ""
    return said
