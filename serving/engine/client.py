"""The only module that speaks to a serving engine: SGLang's OpenAI-compatible HTTP interface.

`EngineClient` is shared and generates nothing; `EngineClient.of(ctx, namespace)` does. Streams end
early by closing the connection, on which SGLang aborts the request by its exact id.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.namespaces import Namespace
from serving.engine.server_sent_events import data_lines
from serving.errors import EngineUnavailableError

_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=5, sock_read=300)


@dataclass(frozen=True, slots=True)
class Job:
    """One generation. `request_id` is made by the gateway and never by a caller.

    `sampling` holds OpenAI's sampling parameters, already validated. `adapter`: one that the tenant
    was authorized for, or empty.
    """

    request_id: str
    messages: Sequence[Mapping[str, str]]
    max_tokens: int
    sampling: Mapping[str, Any]
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens as the engine counted them; `cached` is the part of `prompt` that was a hit."""

    prompt: int
    cached: int
    completion: int


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer. The last ones carry `finish_reason`, then `usage`."""

    text: str = ""
    finish_reason: str | None = None
    usage: TokenUsage | None = None


class EngineClient:
    """A connection pool to one worker.

    admin_key: opens the engine's controls, where it was started with one. incarnation: changes
    when another worker may answer.
    """

    def __init__(
        self, url: str, *, model: str, api_key: str | None, admin_key: str | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self.incarnation = secrets.token_hex(8)
        self._admin = {"Authorization": f"Bearer {admin_key}"} if admin_key else {}
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            headers=headers,
            timeout=_TIMEOUT,
            json_serialize=lambda value: orjson.dumps(value).decode(),
        )

    def of(self, ctx: TenantContext, namespace: Namespace) -> TenantEngine:
        """The engine as this tenant sees it: everything it computes stays in `namespace`."""
        require_tenant(ctx, "the engine")
        return TenantEngine(self._session, self.url, self.model, ctx, namespace)

    async def ask(
        self, operator: OperatorContext, route: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """One of the engine's other routes, `METHOD /path`, as the operator.

        Raises:
            EngineUnavailableError: it does not answer, or refuses.
        """
        require_operator(operator, "the engine's controls")
        method, _, path = route.partition(" ")
        # SGLang takes the plain key alone for what only reads.
        url, headers = f"{self.url}{path}", self._admin if method == "POST" else {}
        try:
            async with self._session.request(method, url, json=body, headers=headers) as response:
                # An error's text may name other tenants' adapters: it is not read.
                response.raise_for_status()
                answer: dict[str, Any] = orjson.loads(await response.read())
                return answer
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            raise EngineUnavailableError from error

    async def server_info(self) -> dict[str, Any]:
        """What the server says of itself, the plugin's attestation included.

        Raises:
            EngineUnavailableError: it does not answer.
        """
        try:
            async with self._session.get(f"{self.url}/server_info") as response:
                response.raise_for_status()
                info: dict[str, Any] = orjson.loads(await response.read())
                return info
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            raise EngineUnavailableError from error

    async def alive(self) -> bool:
        """Whether the server answers at all."""
        try:
            timeout = aiohttp.ClientTimeout(total=5)
            async with self._session.get(f"{self.url}/health", timeout=timeout) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def close(self) -> None:
        """Close all connections; running streams end."""
        await self._session.close()


class TenantEngine:
    """Generation for one tenant in one namespace."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        model: str,
        ctx: TenantContext,
        namespace: Namespace,
    ) -> None:
        self._session = session
        self._url = f"{url}/v1/chat/completions"
        self._model = model
        self._ctx = ctx
        self._namespace = namespace

    async def stream(self, job: Job) -> AsyncGenerator[Delta, None]:
        """The answer, piece by piece. Close the generator to stop the engine.

        Raises:
            EngineUnavailableError: no connection, an error answer, or a stream that broke off.
        """
        try:
            async with self._session.post(self._url, data=self._body(job)) as response:
                if response.status != 200:
                    raise EngineUnavailableError("The engine refused the request.")
                async for line in data_lines(response.content):
                    for delta in _deltas(line):
                        yield delta
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise EngineUnavailableError("The engine broke off. Try again.") from error

    def _body(self, job: Job) -> aiohttp.BytesPayload:
        body = {
            **job.sampling,
            "model": self._model,
            "messages": list(job.messages),
            "max_tokens": job.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "cache_salt": self._namespace,
            "rid": job.request_id,
            "priority": self._ctx.tier.priority,
        }
        if job.adapter:
            body["lora_path"] = job.adapter
        return aiohttp.BytesPayload(orjson.dumps(body), content_type="application/json")


def _deltas(line: bytes) -> list[Delta]:
    event = orjson.loads(line)
    if "error" in event:
        # SGLang's message may quote other tenants' adapters: it goes no further.
        raise EngineUnavailableError("The engine failed on this request.")
    deltas = [
        Delta(choice["delta"].get("content") or "", choice.get("finish_reason"))
        for choice in event.get("choices", ())
    ]
    usage = event.get("usage")
    if usage and not deltas:
        details = usage.get("prompt_tokens_details") or {}
        deltas.append(
            Delta(
                usage=TokenUsage(
                    prompt=usage["prompt_tokens"],
                    cached=details.get("cached_tokens") or 0,
                    completion=usage.get("completion_tokens") or 0,
                )
            )
        )
    return deltas
