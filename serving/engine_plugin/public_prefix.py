"""Prefixes that the operator shares with all tenants: system prompts, descriptions of tools.

The engine computes one itself, in a namespace that no gateway can name, and the tree then begins
each tenant's own part below it. No tenant's request writes there, and what one tenant learns from a
hit is the operator's text, which all know.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from itertools import takewhile
from typing import Any

from serving.engine_plugin import hooks
from serving.engine_plugin.body import read_prefix
from serving.engine_plugin.gate import own_request
from serving.engine_plugin.identity import PUBLIC_NAMESPACE
from serving.engine_plugin.verifier import ProofRefusedError

Ask = Callable[[str], Awaitable[list[dict[str, Any]]]]

# What is public is never evicted: of the pool, and of a context, the rest stays the tenants'.
_POOL_PARTS, _CONTEXT_PARTS = 4, 2
# Two questions that have no beginning in common.
_QUESTIONS = ("0", "Z")
_publishing = asyncio.Lock()


class NotSharedError(Exception):
    """The operator's own mistake, which the answer tells: no fault of the proof."""

    def __init__(self, **answer: Any) -> None:
        super().__init__()
        self.answer = answer


def register() -> None:
    """Nothing is hooked, but something is called that SGLang does not promise to keep.

    Raises:
        MissingTargetError: this SGLang lacks it.
    """
    chats = "sglang.srt.entrypoints.openai.serving_chat.OpenAIServingChat"
    hooks.require(f"{chats}._process_messages", ("self", "request", "is_multimodal"))


async def measured(manager: Any, body: bytes, ask: Ask) -> dict[str, Any]:
    """How long a prefix is, and how many tokens there is room for; nothing is published.

    body: `{"messages": [...], "tools": [...]}`, with which chats begin; `tools` may be missing.
    ask: the schedulers' answers to a question of `control`.

    Raises:
        ProofRefusedError: the body is something else.
    """
    try:
        tokens, room = await _fitting(manager, body, ask)
    except NotSharedError as error:
        return error.answer
    return {"length": len(tokens), "room": room}


async def publish(manager: Any, body: bytes, ask: Ask) -> dict[str, Any]:
    """Compute the beginning of these chats and show it to all, from their next requests on.

    A prefix that is public already stays as it is. What cannot be shared is said by `refused`:
    `too_long` (with `length` and `room`, in tokens) or `not_rendered`.

    Raises:
        ProofRefusedError: the body is no prefix.
    """
    name = hashlib.sha256(body).hexdigest()
    try:
        # One at a time: else two would find room for one.
        async with _publishing:
            tokens, _ = await _fitting(manager, body, ask)
            await _compute(manager, tokens)
            ranks = await ask(f"publish:{name}")
    except NotSharedError as error:
        return error.answer
    return {"length": len(tokens), "ranks": ranks}


async def _fitting(manager: Any, body: bytes, ask: Ask) -> tuple[list[int], int]:
    tokens = _beginning(*read_prefix(body))
    ranks = await ask("public")
    room = min(min(rank["room"] for rank in ranks), manager.context_len // _CONTEXT_PARTS)
    published = hashlib.sha256(body).hexdigest() in ranks[0]["prefixes"]
    if len(tokens) > room and not published:
        raise NotSharedError(refused="too_long", length=len(tokens), room=room)
    return tokens, room


def room_in(pool: int, public: int) -> int:
    """How many tokens may still become public in a pool of that many, where some are."""
    return max(0, pool // _POOL_PARTS - public)


async def _compute(manager: Any, tokens: list[int]) -> None:
    from fastapi import HTTPException
    from sglang.srt.managers.io_struct import GenerateReqInput

    own_request.set(PUBLIC_NAMESPACE)
    sampling = {"temperature": 0, "max_new_tokens": 1}
    request = GenerateReqInput(input_ids=tokens, sampling_params=sampling, log_metrics=False)
    too_long = NotSharedError(refused="too_long", length=len(tokens), room=0)
    ended: Any = None
    try:
        async for output in manager.generate_request(request, None):
            ended = output["meta_info"]["finish_reason"]
    except (ValueError, HTTPException):  # longer than a context, or than what is reserved leaves
        raise too_long from None
    if not ended or ended["type"] == "abort":
        raise too_long


def _beginning(messages: list[Any], tools: list[Any]) -> list[int]:
    """The tokens with which chats begin that differ from the first letter of their question on.

    Made by SGLang's own preparation of a chat: whatever a template does with tools, and with a
    conversation that ends where no question is, this is what the tenants' chats really have.
    """
    first, second = (_rendered(messages, tools, question) for question in _QUESTIONS)
    pairs = zip(first, second, strict=False)
    return [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]


def _rendered(messages: list[Any], tools: list[Any], question: str) -> list[int]:
    from sglang.srt.entrypoints.openai.protocol import ChatCompletionRequest

    asked = [*messages, {"role": "user", "content": question}]
    try:
        request = ChatCompletionRequest(model="base", messages=asked, tools=tools or None)
    except ValueError:
        raise ProofRefusedError("body_refused") from None
    try:
        tokens: list[int] = list(_chats()._process_messages(request, False).prompt_ids)
    except Exception:  # whatever the template raises of a wrong conversation
        raise NotSharedError(refused="not_rendered") from None
    return tokens


def _chats() -> Any:
    """What prepares chats in this process."""
    from sglang.srt.entrypoints.http_server import app

    return app.state.openai_serving_chat
