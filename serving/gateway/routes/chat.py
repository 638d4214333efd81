"""`POST /v1/chat/completions`, OpenAI's shapes, plus `citations`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from isolation.errors import RequestRefusedError
from serving.engine.client import TokenUsage
from serving.errors import EngineUnavailableError
from serving.gateway.answer import (
    AnswerAdmitted,
    AnswerCall,
    AnswerEnd,
    AnswerPart,
    AnswerPiece,
    AnswerText,
)
from serving.gateway.bodies import read_body
from serving.gateway.chat_request import ChatRequest, parse_chat_request
from serving.gateway.dependencies import Parts, Tenant
from serving.gateway.disconnect import until_disconnect
from serving.gateway.event_stream import EventStream
from serving.gateway.identifiers import completion_id
from serving.gateway.json_body import check_values
from serving.gateway.problems import envelope

router = APIRouter()

# Of 500 messages and 64 tools, and some.
_VALUES = 10_000


@router.post("/v1/chat/completions")
async def complete(request: Request, ctx: Tenant, parts: Parts) -> Response:
    """Answer a chat from the tenant's own documents."""
    if parts.chat is None:
        raise EngineUnavailableError
    body = await read_body(request, parts.settings.max_body_bytes)
    await check_values(body, _VALUES)
    asked = parse_chat_request(body)
    answer = parts.chat.of(ctx).answer(asked, request.state.trace)
    frame = _Frame(asked)
    if asked.stream:
        return EventStream(frame.events(answer), lambda: frame.headers)
    try:
        body = await until_disconnect(request.receive, frame.whole(answer))
    except ClientDisconnect:
        return Response(status_code=499)
    return Response(body, headers=dict(frame.headers), media_type="application/json")


class _Frame:
    """OpenAI's JSON around one answer. headers: what goes before it, once it has begun."""

    def __init__(self, asked: ChatRequest) -> None:
        self._asked = asked
        self.headers: Mapping[str, str] = {}
        self._common = {
            "id": completion_id(),
            "created": int(time.time()),
            "model": asked.model,
        }

    async def whole(self, answer: AsyncGenerator[AnswerPart, None]) -> bytes:
        """A `chat.completion`."""
        text: list[str] = []
        calls: list[dict[str, Any]] = []
        async with aclosing(answer) as parts:
            async for part in parts:
                if isinstance(part, AnswerAdmitted):
                    self.headers = part.headers
                elif isinstance(part, AnswerText):
                    text.append(part.text)
                elif isinstance(part, AnswerCall):
                    _add(calls, part)
                else:
                    end = part
        message = {"role": "assistant", "content": "".join(text) or (None if calls else "")}
        choice = {
            "index": 0,
            "message": message | ({"tool_calls": calls} if calls else {}),
            "finish_reason": end.finish_reason,
        }
        body = self._common | {
            "object": "chat.completion",
            "choices": [choice],
            "citations": [asdict(citation) for citation in end.citations],
            "usage": _usage(end.usage),
            **_conversation(end),
        }
        return orjson.dumps(body)

    async def events(self, answer: AsyncGenerator[AnswerPart, None]) -> AsyncGenerator[bytes, None]:
        """`chat.completion.chunk`s, then `[DONE]`.

        Raises:
            RequestRefusedError: before the first event only; later ones become an error event.
        """
        begun = False
        try:
            async with aclosing(answer) as parts:
                async for part in parts:
                    if isinstance(part, AnswerAdmitted):
                        # Not yet an event: what follows may still be a refusal.
                        self.headers = part.headers
                        continue
                    if not begun:
                        begun = True
                        yield self._chunk({"role": "assistant", "content": ""})
                    for event in self._of(part):
                        yield event
        except RequestRefusedError as error:
            if not begun:
                raise
            yield _event(envelope(error))
        yield b"data: [DONE]\n\n"

    def _of(self, part: AnswerPiece | AnswerEnd) -> list[bytes]:
        if isinstance(part, AnswerText):
            return [self._chunk({"content": part.text})]
        if isinstance(part, AnswerCall):
            return [self._chunk({"tool_calls": [{"index": part.index} | _call(part)]})]
        return self._end(part)

    def _end(self, end: AnswerEnd) -> list[bytes]:
        citations = [asdict(citation) for citation in end.citations]
        more = _conversation(end)
        last = self._chunk({}, finish_reason=end.finish_reason, citations=citations, **more)
        if not self._asked.wants_usage:
            return [last]
        usage = self._common | {
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": _usage(end.usage),
        }
        return [last, _event(usage)]

    def _chunk(
        self, delta: dict[str, Any], *, finish_reason: str | None = None, **more: Any
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        body = self._common | {"object": "chat.completion.chunk", "choices": [choice], **more}
        return _event(body)


def _call(part: AnswerCall) -> dict[str, Any]:
    """A call, or the next piece of its arguments."""
    if not part.id:
        return {"function": {"arguments": part.arguments}}
    function = {"name": part.name, "arguments": part.arguments}
    return {"id": part.id, "type": "function", "function": function}


def _add(calls: list[dict[str, Any]], part: AnswerCall) -> None:
    if part.id:
        calls.append(_call(part))
    else:
        calls[part.index]["function"]["arguments"] += part.arguments


def _conversation(end: AnswerEnd) -> dict[str, Any]:
    return {} if end.conversation is None else {"conversation": asdict(end.conversation)}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


def _usage(tokens: TokenUsage) -> dict[str, Any]:
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
    }
