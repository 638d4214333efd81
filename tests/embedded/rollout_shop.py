"""A platform with SGLang and one tenant, whose adapter has three versions.

The one that serves has random weights. The bad one is a copy of it whose weights were mixed up, the
good one a copy that is a little different. What a right answer states is what the first one says.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from evals.adapter_files import read_files
from tests.adapters.files import tensors, write
from tests.embedded.conftest import Gateway

PATH = "/v1/adapters/support/rollouts"
OPERATOR = "operator-of-the-rollouts-test-0123456789"
# Times of a busy machine decide nothing here.
GATES = {
    "minimum_requests": 10,
    "window_requests": 40,
    "window_seconds": 0,
    "ttft_ratio": 100,
    "gap_ratio": 100,
    "minimum_scores": 10,
}
OLD, BAD, GOOD = 1, 2, 3
# Tokens: of an answer that is scored, of one that tells versions apart, and of one that outlasts a
# decision.
SCORED, TELLING, LONG = 3, 8, 800
_SEED, _NOISE = 1, 0.05
_WORDS = ("table", "window", "paper", "bottle", "garden", "pencil", "basket", "candle", "carpet")


class Stream:
    """A long answer, read by a thread of its own."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._said: list[str] = []
        self.end: str | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(events,), daemon=True)
        self._thread.start()
        assert self._begun.wait(60)

    @property
    def runs(self) -> bool:
        return self._thread.is_alive()

    def ended(self) -> str:
        """All of it."""
        self._thread.join(120)
        assert not self.runs
        return "".join(self._said)

    def _read(self, events: Iterator[Any]) -> None:
        for event in events:
            for choice in event.choices:
                self._said.append(choice.delta.content or "")
                self.end = choice.finish_reason or self.end
            self._begun.set()


@dataclass
class Shop:
    """The tenant. tells: a question that each version answers otherwise, and `says` how. alike:
    questions that old and good answer alike, and bad otherwise; with what the two say."""

    gateway: Gateway
    key: str
    folder: Path
    tells: str = "Hello"
    alike: dict[str, str] = field(default_factory=dict)
    says: dict[int, str] = field(default_factory=dict)

    def close(self) -> None:
        self._http.close()
        self._openai.close()

    def call(self, method: str, path: str, body: Any = None, **form: Any) -> Any:
        reply = self._http.request(method, path, json=body, **form)
        assert reply.is_success, reply.text
        return reply.json()

    def answer(
        self, model: str, conversation: str = "c", question: str = "", max_tokens: int = TELLING
    ) -> str:
        made: Any = self._openai.chat.completions.create(
            **self._asked(model, conversation, question, max_tokens)
        )
        return str(made.choices[0].message.content)

    def stream(self, conversation: str) -> Stream:
        """A long answer to the question that tells; it has begun when this returns."""
        asked = self._asked("support", conversation, "", LONG)
        return Stream(self._openai.chat.completions.create(**asked, stream=True))

    def version(self, conversation: str) -> int:
        """The version that a conversation got."""
        said = self.answer("support", conversation)
        (version,) = (number for number, known in self.says.items() if known == said)
        return version

    def begin(self, candidate: int, **more: Any) -> None:
        body = {"candidate": candidate, "control": OLD, "percent": 50, "gates": GATES} | more
        assert self.call("POST", PATH, body)["state"] == "running"

    def evaluated(self) -> None:
        """As an operator does it: the platform asks both versions, scores them, and tells."""
        questions = self.folder / "questions.jsonl"
        facts = self.alike.items()
        cases = [json.dumps({"question": question, "facts": [fact]}) for question, fact in facts]
        questions.write_text("\n".join(cases))
        command = ("adapter", "rollout", "evaluate", "acme", "support", str(questions))
        ran = self.gateway.forked(*command)
        assert ran.returncode == 0, ran.stderr

    @property
    def newest(self) -> dict[str, Any]:
        newest: dict[str, Any] = self.call("GET", PATH)["data"][-1]
        return newest

    def until(self, holds: Callable[[dict[str, Any]], bool], seconds: float = 20) -> dict[str, Any]:
        """The newest rollout, once this holds of it; the gateway writes and looks each second."""
        end = time.monotonic() + seconds
        while not holds(newest := self.newest) and time.monotonic() < end:
            time.sleep(0.2)
        assert holds(newest), newest
        return newest

    def until_state(self, state: str) -> dict[str, Any]:
        return self.until(lambda newest: newest["state"] == state)

    def until_counted(self, requests: int) -> dict[str, Any]:
        """Once so many answers of both versions are in the database."""

        def counted(newest: dict[str, Any]) -> bool:
            figures = newest["figures"]
            return sum(figures[arm]["requests"] for arm in ("control", "canary")) == requests

        return self.until(counted)

    @cached_property
    def _http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.gateway.url, headers=headers, timeout=120)

    @cached_property
    def _openai(self) -> openai.OpenAI:
        """Tries once again: a connection may be of before the kill."""
        url = f"{self.gateway.url}/v1"
        return openai.OpenAI(base_url=url, api_key=self.key, max_retries=1)

    def _asked(
        self, model: str, conversation: str, question: str, max_tokens: int
    ) -> dict[str, Any]:
        return {
            "model": model,
            "messages": [{"role": "user", "content": question or self.tells}],
            "max_tokens": max_tokens,
            "metadata": {"conversation": conversation},
        }


def opened(gateway: Gateway, folder: Path) -> Shop:
    """The tenant, with its versions uploaded and the questions found that tell them apart."""
    with closing(Shop(gateway, OPERATOR, folder)) as operator:
        operator.call("POST", "/admin/v1/tenants", {"id": "acme", "tier": "business"})
        key = operator.call("POST", "/admin/v1/keys", {"tenant_id": "acme"})["api_key"]
    shop = Shop(gateway, key, folder)
    for number, weights in _versions().items():
        upload = write(folder / f"v{number}", weights=weights).folder
        form = [("files", item) for item in read_files(upload).items()]
        shop.call("POST", "/v1/adapters", data={"name": "support"}, files=form)
    _find_questions(shop)
    return shop


def _versions() -> dict[int, dict[str, Any]]:
    old, random = tensors(_SEED), np.random.default_rng(_SEED)
    return {
        OLD: old,
        BAD: {name: random.permuted(values) for name, values in old.items()},
        GOOD: {
            name: (values * (1 + random.normal(0, _NOISE, values.shape))).astype(values.dtype)
            for name, values in old.items()
        },
    }


def _find_questions(shop: Shop, wanted: int = 10, tried: int = 80) -> None:
    """Random weights say anything: a question that one of them answers with nothing is no use."""
    draw, seen = Random(_SEED), []
    for _ in range(tried):
        question = " ".join(draw.choice(_WORDS) for _ in range(8))
        if len(shop.alike) < wanted:
            said = _said(shop, question, SCORED)
            seen.append(said)
            if said[OLD].strip() and said[OLD] == said[GOOD] != said[BAD]:
                shop.alike[question] = said[OLD]
        if not shop.says:
            said = _said(shop, question, TELLING)
            if all(text.strip() for text in said.values()) and len(set(said.values())) == 3:
                shop.tells, shop.says = question, said
        if shop.says and len(shop.alike) == wanted:
            return
    pytest.fail(f"{len(shop.alike)} questions serve, {len(shop.says)} answers tell: {seen}")


def _said(shop: Shop, question: str, tokens: int) -> dict[int, str]:
    return {
        version: shop.answer(f"support@{version}", question=question, max_tokens=tokens)
        for version in (OLD, BAD, GOOD)
    }
