"""A hand-written stand-in for SGLang's HTTP interface, with one switch for each leak.

It stands only for the wire: what the gateway sends, and what it makes of the answers. That SGLang
itself behaves so is for tests on the real engine.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from serving.engine_plugin.places import HOOKED
from serving.engine_plugin.stopwatch import Cost

ATTESTED = {
    "protocol": 2,
    "hooks": sorted(HOOKED),
    "radix_cache": True,
    "budgets": True,
    "priority": True,
    "lora": True,
}


class StubEngine:
    """Answers `reply` word by word, with a prefix cache keyed by salt and prompt."""

    def __init__(self, *, salted: bool = True, attests: bool = True, reports: bool = True) -> None:
        self.salted = salted
        self.attests = attests
        self.reports = reports
        self.attested: dict[str, Any] = dict(ATTESTED)
        self.reply = "You have 30 days [1]"
        # What it calls where tools are offered: names, and arguments as the model writes them.
        self.calls: list[tuple[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.ended_early = asyncio.Event()
        self.endless = False
        # What it answers a chat with instead: a status and a body.
        self.refusal: tuple[int, dict[str, Any]] | None = None
        # An error as an event of a stream, after the first words.
        self.failure: dict[str, Any] | None = None
        # Bytes of events that the connection took of an endless answer without pauses.
        self.flooded: int | None = None
        self.adapters: dict[str, str] = {}
        # What is public, by name; how many letters that may be.
        self.public: dict[str, dict[str, Any]] = {}
        self.room = 10_000
        self._seen: set[tuple[str, str]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str, None]:
        """Serve on a free loopback port; yields the URL."""
        app = web.Application()
        app.router.add_get("/server_info", self._info)
        app.router.add_get("/bulkhead/v1/worker", self._worker)
        app.router.add_post("/bulkhead/v1/settle", self._settle)
        app.router.add_get("/health", self._health)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/load_lora_adapter", self._load)
        app.router.add_post("/unload_lora_adapter", self._unload)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/bulkhead/v1/public", self._public)
        app.router.add_post("/bulkhead/v1/public", self._publish)
        app.router.add_post("/bulkhead/v1/public/measure", self._publish)
        app.router.add_post("/flush_cache", self._flush)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            yield f"http://{host}:{port}"
        finally:
            await runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _worker(self, request: web.Request) -> web.Response:
        return web.json_response({"worker": "stub"})

    async def _settle(self, request: web.Request) -> web.Response:
        return web.json_response({"cost": asdict(Cost(busy_seconds=0.25))})

    async def _info(self, request: web.Request) -> web.Response:
        state = {"bulkhead": self.attested} if self.attests else {}
        return web.json_response({"internal_states": [state]})

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        weights = (Path(body["lora_path"]) / "adapter_model.safetensors").read_bytes()
        self.adapters[body["lora_name"]] = hashlib.sha256(weights).hexdigest()
        return web.json_response({"success": True})

    async def _unload(self, request: web.Request) -> web.Response:
        known = self.adapters.pop((await request.json())["lora_name"], None)
        return web.json_response({"success": known is not None}, status=200 if known else 400)

    async def _models(self, request: web.Request) -> web.Response:
        data = [{"id": "m"}, *({"id": name, "parent": "m"} for name in self.adapters)]
        return web.json_response({"data": data})

    async def _public(self, request: web.Request) -> web.Response:
        rank = {"tokens": len(self.public), "room": self.room, "prefixes": list(self.public)}
        return web.json_response({"ranks": [rank]})

    async def _publish(self, request: web.Request) -> web.Response:
        body = await request.read()
        said = {"length": len(body), "room": self.room}
        if len(body) > self.room:
            return web.json_response({"refused": "too_long"} | said)
        if not request.path.endswith("/measure"):
            self.public[hashlib.sha256(body).hexdigest()] = orjson.loads(body)
        return web.json_response(said)

    async def _flush(self, request: web.Request) -> web.Response:
        self.public.clear()
        return web.Response()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        if self.refusal is not None:
            return web.json_response(self.refusal[1], status=self.refusal[0])
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            # An adapter answers with the digest of its weights.
            reply = self.adapters[body["lora_path"]] if "lora_path" in body else self.reply
            for word in reply.split(" "):
                await response.write(_event({"choices": [_choice(word + " ")]}))
            if self.failure is not None:
                await response.write(_event({"error": self.failure}))
            await self._flood(response)
            calls = (self.calls or _forced(body)) if body.get("tools") else []
            for piece in _called(calls):
                await response.write(_event({"choices": [{"delta": {"tool_calls": [piece]}}]}))
            while self.endless:
                await response.write(_event({"choices": [_choice("on ")]}))
                await asyncio.sleep(0.01)
        except (asyncio.CancelledError, ConnectionError):
            self.ended_early.set()
            raise
        reason = "tool_calls" if calls else "stop"
        await response.write(_event({"choices": [_choice("", reason)]}))
        await response.write(_event({"choices": [], "usage": self._usage(body)}))
        await response.write(_event({"bulkhead": asdict(Cost(busy_seconds=0.5))}))
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _flood(self, response: web.StreamResponse) -> None:
        event = _event({"choices": [_choice("on " * 5_000)]})
        while self.flooded is not None:
            await response.write(event)
            self.flooded += len(event)

    def _usage(self, body: dict[str, Any]) -> dict[str, Any]:
        key = (body["cache_salt"] if self.salted else "", orjson.dumps(body["messages"]).decode())
        cached = 40 if key in self._seen and self.reports else 0
        self._seen.add(key)
        return {
            "prompt_tokens": 50,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": cached},
        }


def _forced(body: dict[str, Any]) -> list[tuple[str, str]]:
    """The call of a tool that is named and leaves one value for everything, as a grammar does."""
    if not isinstance(body.get("tool_choice"), dict):
        return []
    function = body["tools"][0]["function"]
    fields = function.get("parameters", {}).get("properties", {})
    values = {name: schema["enum"][0] for name, schema in fields.items() if "enum" in schema}
    return [(function["name"], orjson.dumps(values).decode())]


def _called(calls: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """As SGLang streams them: first the name, then the arguments, a few characters at a time."""
    for index, (name, arguments) in enumerate(calls):
        first = {"name": name, "arguments": ""}
        yield {"id": f"call_{index}", "index": index, "type": "function", "function": first}
        for start in range(0, len(arguments), 3):
            more = {"name": None, "arguments": arguments[start : start + 3]}
            yield {"id": None, "index": index, "type": "function", "function": more}


def _choice(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    return {"delta": {"content": text}, "finish_reason": finish_reason}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"
