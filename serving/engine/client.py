"""The only module that speaks to a serving engine: SGLang's OpenAI-compatible HTTP interface.

`EngineClient` is shared and generates nothing; `EngineClient.of(ctx, namespace)` does. Each request
carries a proof. Streams end early by closing the connection, on which SGLang aborts the request by
its exact id.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.namespaces import Namespace
from isolation.tenant_id import TenantId
from serving.engine import refusals
from serving.engine.proof import ProofSigner
from serving.engine.server_sent_events import data_lines
from serving.engine_plugin.claims import HEADER, KvPolicy
from serving.engine_plugin.stopwatch import Cost
from serving.errors import EngineBrokeOffError, EngineUnavailableError

# How long an idle connection to the engine is kept.
KEEP_ALIVE_SECONDS = 60

_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=5, sock_read=300)

_PURGE_SECONDS = 30.0
_SETTLE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Job:
    """One generation. `request_id` is made by the gateway and never by a caller.

    `sampling` holds OpenAI's sampling parameters, already validated, and `tool_controls` what goes
    with `tools`. `adapter`: one that the tenant was authorized for, or empty.
    """

    request_id: str
    messages: Sequence[Mapping[str, Any]]
    max_tokens: int
    sampling: Mapping[str, Any]
    adapter: str = ""
    tools: Sequence[Mapping[str, Any]] = ()
    tool_controls: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens as the engine counted them; `cached` is the part of `prompt` that was a hit."""

    prompt: int
    cached: int
    completion: int


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of a tool call. `index`: which of the answer's; `name`: in the first piece of one."""

    index: int
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer. The last ones carry `finish_reason`, then `usage`, then `cost`."""

    text: str = ""
    finish_reason: str | None = None
    usage: TokenUsage | None = None
    cost: Cost | None = None
    calls: tuple[CallDelta, ...] = ()

    @property
    def generated(self) -> bool:
        """Whether the model said something."""
        return bool(self.text or self.calls)


class EngineClient:
    """A connection pool to one worker.

    scrub: whether tenants' KV slots are zeroed when they are released.
    """

    def __init__(
        self, url: str, *, model: str, api_key: str | None, signer: ProofSigner, scrub: bool = True
    ) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self._signer = signer
        self._scrub = scrub
        self._worker: str | None = None
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
            headers=headers,
            timeout=_TIMEOUT,
            json_serialize=lambda value: orjson.dumps(value).decode(),
        )

    def of(self, ctx: TenantContext, namespace: Namespace) -> TenantEngine:
        """The engine as this tenant sees it: everything it computes stays in `namespace`."""
        require_tenant(ctx, "the engine")
        return TenantEngine(self, ctx, namespace)

    async def identify(self) -> str:
        """The worker's id, as it says it now; later proofs are for this one.

        Raises:
            EngineUnavailableError: it does not answer, or has none.
        """
        try:
            async with self._session.get(f"{self.url}/bulkhead/v1/worker") as response:
                response.raise_for_status()
                self._worker = str(orjson.loads(await response.read())["worker"])
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise EngineUnavailableError from error
        return self._worker

    @property
    def incarnation(self) -> str:
        """The worker's id: another one answers with nothing loaded.

        Raises:
            EngineUnavailableError: it is not known.
        """
        if self._worker is None:
            raise EngineUnavailableError
        return self._worker

    @property
    def worker(self) -> str:
        """The worker's id; empty: not known yet."""
        return self._worker or ""

    @property
    def identified(self) -> bool:
        """Whether the worker is known, and has not answered as another one since."""
        return self._worker is not None

    async def ask(
        self, operator: OperatorContext, route: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """One of the engine's other routes, `METHOD /path`, with an operator's proof.

        An answer that is no JSON object comes back as `{"text": ...}`.

        Raises:
            EngineUnavailableError: it does not answer, or refuses.
        """
        require_operator(operator, "the engine's controls")
        return await self._ask(route, orjson.dumps(body) if body is not None else b"")

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        """End the tenant's requests and clear its KV; returns when none of it is left.

        Raises:
            EngineUnavailableError: the engine does not answer, or is not done in time.
        """
        account = {"account": self._signer.account(tenant)}
        try:
            async with asyncio.timeout(_PURGE_SECONDS):
                held = 1
                while held:
                    held = (await self.ask(operator, "POST /bulkhead/v1/purge", account))["held"]
        except TimeoutError:
            raise EngineUnavailableError("The engine did not finish clearing.") from None

    async def server_info(self) -> dict[str, Any]:
        """What the server says of itself, the plugin's attestation included.

        Raises:
            EngineUnavailableError: it does not answer.
        """
        return await self._ask("GET /server_info", b"")

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

    async def _ask(self, route: str, body: bytes) -> dict[str, Any]:
        worker = self._worker or await self.identify()
        method, _, path = route.partition(" ")
        headers = {HEADER: self._signer.for_operator(route, worker=worker, body=body)}
        if body:
            headers["content-type"] = "application/json"
        url = f"{self.url}{path}"
        try:
            async with self._session.request(method, url, data=body, headers=headers) as response:
                self._notice(response)
                response.raise_for_status()
                return _object(await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise EngineUnavailableError from error

    def _notice(self, response: aiohttp.ClientResponse) -> None:
        # Proofs are refused only by a worker that they were not made for: it has been replaced.
        if response.status == 403:
            self._worker = None


class TenantEngine:
    """Generation for one tenant in one namespace."""

    def __init__(self, client: EngineClient, ctx: TenantContext, namespace: Namespace) -> None:
        self._client = client
        self._ctx = ctx
        self._namespace = namespace

    async def stream(self, job: Job) -> AsyncGenerator[Delta, None]:
        """The answer, piece by piece. Close the generator to stop the engine.

        Raises:
            EngineUnavailableError: no connection, or an error answer.
            EngineBrokeOffError: the connection was lost when the engine had the job.
            KvBudgetExceededError, InvalidRequestError: the engine will never run this job.
        """
        client, body = self._client, self._body(job)
        headers = {"content-type": "application/json", HEADER: await self._proof(job, body)}
        url = f"{client.url}/v1/chat/completions"
        try:
            async with client._session.post(url, data=body, headers=headers) as response:
                client._notice(response)
                if response.status != 200:
                    raise refusals.answered(response.status, await response.read())
                async for line in data_lines(response.content):
                    for delta in _deltas(line):
                        yield delta
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise EngineUnavailableError from error
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise EngineBrokeOffError from error

    async def settle(self, job: Job) -> Cost | None:
        """What a job cost whose stream was left early; None where the engine cannot say.

        It waits for the job to end.
        """
        try:
            body = orjson.dumps({"request_id": job.request_id})
            async with asyncio.timeout(_SETTLE_SECONDS):
                answer = await self._client._ask("POST /bulkhead/v1/settle", body)
        except (EngineUnavailableError, TimeoutError):
            return None
        return _cost(answer.get("cost"))

    async def _proof(self, job: Job, body: bytes) -> str:
        client, tier = self._client, self._ctx.tier
        return client._signer.for_tenant(
            self._ctx,
            self._namespace,
            worker=client._worker or await client.identify(),
            request_id=job.request_id,
            adapter=job.adapter,
            policy=KvPolicy(tier.kv_reserved, tier.kv_cap, tier.weight, client._scrub),
            body=body,
        )

    def _body(self, job: Job) -> bytes:
        body = {
            **job.sampling,
            "model": self._client.model,
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
        if job.tools:
            body |= {"tools": list(job.tools), **job.tool_controls}
        return orjson.dumps(body)


def _deltas(line: bytes) -> list[Delta]:
    event = orjson.loads(line)
    if "error" in event:
        raise refusals.streamed(event["error"])
    if "bulkhead" in event:
        return [Delta(cost=_cost(event["bulkhead"]))]
    deltas = [
        Delta(
            choice["delta"].get("content") or "",
            choice.get("finish_reason"),
            calls=tuple(map(_call, choice["delta"].get("tool_calls") or ())),
        )
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


def _call(said: dict[str, Any]) -> CallDelta:
    function = said.get("function") or {}
    return CallDelta(said.get("index") or 0, function.get("name"), function.get("arguments") or "")


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    return answer if isinstance(answer, dict) else {"text": body.decode(errors="replace")}


def _cost(said: dict[str, Any] | None) -> Cost | None:
    return Cost(**said) if said is not None else None
