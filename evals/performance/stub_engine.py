"""A stand-in for SGLang that costs next to nothing: what is measured against it is the gateway.

It speaks the wire of one worker (attestation, prefix-cache report by salt, OpenAI's chat route) and
answers 16 tokens at once. Run: `python -m evals.performance.stub_engine PORT`.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import orjson
import uvicorn
from starlette.types import Receive, Scope, Send

from serving.engine_plugin.places import HOOKED
from serving.engine_plugin.stopwatch import Cost

TOKENS = 16
_WORDS = [f"word{number} " for number in range(TOKENS)]
_ATTESTED = {
    "protocol": 2,
    "hooks": sorted(HOOKED),
    "radix_cache": True,
    "budgets": True,
    "priority": True,
    "lora": True,
}
_JSON = [(b"content-type", b"application/json")]
_COST = b"data: " + orjson.dumps({"bulkhead": asdict(Cost())}) + b"\n\n"
_EVENTS = [(b"content-type", b"text/event-stream")]


class StubEngine:
    """An ASGI application without a framework."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, bytes]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/v1/chat/completions":
            await self._chat(orjson.loads(await _body(receive)), send)
            return
        info = {"worker": "stub", "internal_states": [{"bulkhead": _ATTESTED}]}
        await _answer(send, _JSON, [orjson.dumps(info)])

    async def _chat(self, body: dict[str, Any], send: Send) -> None:
        usage = self._usage(body)
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(_WORDS)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            reply = {"object": "chat.completion", "choices": [choice], "usage": usage}
            await _answer(send, _JSON, [orjson.dumps(reply)])
            return
        deltas: list[tuple[str, str | None]] = [(word, None) for word in _WORDS]
        events = [_event([_choice(text, end)]) for text, end in [*deltas, ("", "stop")]]
        await _answer(send, _EVENTS, [*events, _event([], usage), _COST, b"data: [DONE]\n\n"])

    def _usage(self, body: dict[str, Any]) -> dict[str, Any]:
        # Only what names a salt is remembered: the probe, and the gateway's few prompts.
        key = (body.get("cache_salt", ""), orjson.dumps(body["messages"]))
        cached = 40 if key[0] and key in self._seen else 0
        self._seen.add(key)
        return {
            "prompt_tokens": 50,
            "completion_tokens": TOKENS,
            "total_tokens": 50 + TOKENS,
            "prompt_tokens_details": {"cached_tokens": cached},
        }


async def _body(receive: Receive) -> bytes:
    blocks: list[bytes] = []
    more = True
    while more:
        message = await receive()
        blocks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(blocks)


async def _answer(send: Send, headers: list[tuple[bytes, bytes]], blocks: list[bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for block in blocks:
        await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _choice(text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}


def _event(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
    body = {"object": "chat.completion.chunk", "choices": choices, "usage": usage}
    return b"data: " + orjson.dumps(body) + b"\n\n"


if __name__ == "__main__":
    uvicorn.run(
        StubEngine(),
        port=int(sys.argv[1]),
        log_level="warning",
        access_log=False,
        lifespan="off",
        loop="uvloop",
        http="httptools",
    )
