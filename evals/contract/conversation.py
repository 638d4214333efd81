"""Chats, as a probe needs them: the raw answer, and what it says of itself."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from evals.contract.target import Tenant, UnjudgedError

MODEL = "base"
_MAX_TOKENS = 16
# Plain things: a name or a number would be masked, and two masked prompts begin alike.
_WORDS = (
    *("table", "window", "paper", "bottle", "garden", "pencil", "basket", "candle", "carpet"),
    *("hammer", "ladder", "mirror", "pillow", "saddle", "ticket", "button"),
)
PROMPT_WORDS = 60
# Two random prompts may begin alike by chance; a hit on the whole is five times as long.
CHANCE = 12


@dataclass(frozen=True, slots=True)
class Answer:
    """`raw` is every byte that was received, as text: a leak anywhere in it is a leak."""

    raw: str
    citations: list[dict[str, Any]]
    cached_tokens: int | None


def chat_body(
    question: str, *, earlier: str = "", stream: bool = False, **more: Any
) -> dict[str, Any]:
    """A request as any OpenAI client sends it. `earlier`: what the customer said before."""
    turns = (("user", earlier), ("assistant", "I see."), ("user", question))
    body: dict[str, Any] = {
        "model": MODEL,
        "messages": [
            {"role": role, "content": text} for role, text in turns[0 if earlier else -1 :]
        ],
        "max_tokens": _MAX_TOKENS,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body | more


def unsent_prompt() -> str:
    """A prompt that nobody has sent yet."""
    return " ".join(secrets.choice(_WORDS) for _ in range(PROMPT_WORDS))


async def chat(
    tenant: Tenant,
    question: str,
    *,
    earlier: str = "",
    stream: bool = False,
    headers: Mapping[str, str] | None = None,
    model: str = MODEL,
) -> Answer:
    """Ask one question.

    Raises:
        UnjudgedError: it is not answered.
    """
    body = chat_body(question, earlier=earlier, stream=stream, model=model)
    reply = await tenant.send("POST", "/v1/chat/completions", body, headers)
    if reply.status_code != 200:
        raise UnjudgedError(f"POST /v1/chat/completions answers {reply.status_code}")
    try:
        return _read(reply, stream)
    except (ValueError, KeyError, TypeError) as error:
        raise UnjudgedError("an answer of the chat has not OpenAI's shape") from error


def _read(reply: httpx.Response, stream: bool) -> Answer:
    parts = _events(reply.text) if stream else [reply.json()]
    citations = [citation for part in parts for citation in part.get("citations") or ()]
    usages = [part["usage"] for part in parts if part.get("usage")]
    details = (usages[-1].get("prompt_tokens_details") or {}) if usages else {}
    return Answer(reply.text, citations, details.get("cached_tokens"))


def _events(text: str) -> list[dict[str, Any]]:
    lines = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]
