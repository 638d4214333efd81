"""A whole gateway with adapters in this process, before a real engine: what its tenants reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from evals.adapter_files import Files
from isolation.tenant_id import tenant_id
from serving.adapters.base_model import BaseModel, read_base_model
from serving.cli.engine import worker_of
from serving.embedded.core import Core, open_core
from serving.embedded.gateway import open_gateway
from serving.errors import StartupError
from serving.gateway.app import create_app
from serving.gateway.runtime import Runtime
from serving.settings import Settings

_START_SECONDS = 400
_CHAT, _ADAPTERS = "/v1/chat/completions", "/v1/adapters"


@dataclass(frozen=True, slots=True)
class Room:
    """The engine's places for adapters. batch: of one step. minimum_seconds: each keeps one."""

    capacity: int
    batch: int
    minimum_seconds: float = 0.0
    rank: int = 16


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as its tenant sees it."""

    text: str
    cached: int


class RequestFailedError(Exception):
    """The platform refused what it should do."""


@dataclass(frozen=True, slots=True)
class Merchant:
    """One tenant's way to the platform."""

    name: str
    http: httpx.AsyncClient

    async def call(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """A request's answer.

        Raises:
            RequestFailedError: it is refused.
        """
        reply = await self.http.request(method, path, **more)
        if not reply.is_success:
            code = reply.json().get("error", reply.json()).get("code", "")
            raise RequestFailedError(f"{method} {path}: {reply.status_code} {code}")
        answer: dict[str, Any] = reply.json()
        return answer

    async def upload(self, name: str, files: Files) -> str:
        """Add a version; its id."""
        form = [("files", item) for item in files.items()]
        return str((await self.call("POST", _ADAPTERS, data={"name": name}, files=form))["id"])

    async def ask(
        self, model: str, question: str, *, max_tokens: int, conversation: str = "c"
    ) -> Reply:
        """One greedy answer."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": max_tokens,
            "metadata": {"conversation": conversation},
        }
        answer = await self.call("POST", _CHAT, json=body)
        details = answer["usage"]["prompt_tokens_details"]
        return Reply(answer["choices"][0]["message"]["content"], details["cached_tokens"])


@dataclass(frozen=True, slots=True)
class Platform:
    """The gateway's parts, its base model, and its tenants."""

    core: Core
    runtime: Runtime
    base: BaseModel
    merchants: tuple[Merchant, ...]


@asynccontextmanager
async def opened(
    folder: Path,
    model: Path,
    room: Room | None,
    tenants: tuple[str, ...],
    tier: str = "business",
    **settings: Any,
) -> AsyncGenerator[Platform, None]:
    """Everything real, without documents and masking; ready. room: None switches adapters off.

    Raises:
        StartupError: the engine does not pass the probe.
    """
    made = _settings(folder, model, room, settings)
    # A worker's port and keys are its own; only its room is this one's.
    worker = replace(worker_of(made, model), port=0)
    refused: list[str] = []
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(made))
        gateway = open_gateway(core, worker=worker, on_refused=refused.append)
        runtime = await stack.enter_async_context(gateway)
        app = httpx.ASGITransport(create_app(runtime))
        merchants = [await _merchant(core, app, name, tier, stack) for name in tenants]
        await _until_ready(runtime, refused)
        base = read_base_model(made.model, model)
        yield Platform(core, runtime, base, tuple(merchants))


def _settings(folder: Path, model: Path, room: Room | None, more: dict[str, Any]) -> Settings:
    own: dict[str, Any] = dict.fromkeys(("retrieval", "masking", "refusal"), "off")
    own |= dict.fromkeys(("database_url", "qdrant_url", "redis_url", "adapter_url"))
    own |= {"data_dir": folder, "model_path": model, "engine_urls": []}
    if room is None:
        own["adapters"] = "off"
    else:
        own |= {
            "adapters": "on",
            "adapter_rank": room.rank,
            "adapter_batch": room.batch,
            "adapter_capacity": room.capacity,
            "adapter_minimum_seconds": room.minimum_seconds,
        }
    return Settings(**own, **more)


async def _merchant(
    core: Core, app: httpx.ASGITransport, name: str, tier: str, stack: AsyncExitStack
) -> Merchant:
    tenant = tenant_id(name)
    await core.registry.add(core.operator, tenant, tier)
    key = (await core.registry.issue_key(core.operator, tenant)).text
    client = httpx.AsyncClient(
        transport=app,
        base_url="http://127.0.0.1",
        headers={"authorization": f"Bearer {key}"},
        timeout=300,
    )
    return Merchant(name, await stack.enter_async_context(client))


async def _until_ready(runtime: Runtime, refused: list[str]) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while not runtime.readiness().ready:
            if refused:
                raise StartupError(refused[0])
            await asyncio.sleep(0.2)
