"""Platforms with one thing broken. Each must be seen by the judge, which else proves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import replace
from unittest.mock import patch

from isolation.namespaces import Namespace, NamespaceDeriver
from serving.adapters.models import TenantModels
from serving.adapters.names import parse_reference
from serving.adapters.ports import AdapterRecord
from serving.engine.client import Delta, Job, TenantEngine

# As long as a look-up takes that stands between, on a busy machine.
_AWAY_SECONDS = 0.05


@contextmanager
def _version_ignored() -> Generator[None, None, None]:
    """Every version of a name is the newest one."""
    resolve = TenantModels.resolve

    async def newest(models: TenantModels, model: str) -> AdapterRecord:
        return await resolve(models, parse_reference(model).name)

    with patch.object(TenantModels, "resolve", newest):
        yield


@contextmanager
def _adapter_beside_the_request() -> Generator[None, None, None]:
    """The client keeps the adapter beside the request: right, unless two requests overlap."""
    stream = TenantEngine.stream
    kept = [""]

    async def mixed(engine: TenantEngine, job: Job) -> AsyncGenerator[Delta, None]:
        kept[0] = job.adapter
        await asyncio.sleep(_AWAY_SECONDS)
        async with aclosing(stream(engine, replace(job, adapter=kept[0]))) as deltas:
            async for delta in deltas:
                yield delta

    with patch.object(TenantEngine, "stream", mixed):
        yield


@contextmanager
def _prefixes_outlive_the_load() -> Generator[None, None, None]:
    """The engine keeps the prefixes of all loads of all tenants in one place.

    A name and a namespace that stay the same are not enough for that: SGLang's key holds an id of
    each load beside them, and the plugin evicts an adapter's prefixes with it. So this twin's
    requests come to the engine without their adapter as well.
    """
    stream = TenantEngine.stream

    async def unnamed(engine: TenantEngine, job: Job) -> AsyncGenerator[Delta, None]:
        async with aclosing(stream(engine, replace(job, adapter=""))) as deltas:
            async for delta in deltas:
                yield delta

    def one_for_all(*_: object) -> Namespace:
        return Namespace("a" * 64)

    with (
        patch.object(TenantEngine, "stream", unnamed),
        patch.object(NamespaceDeriver, "derive", one_for_all),
    ):
        yield


TWINS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "version-ignored": _version_ignored,
    "adapter-beside-the-request": _adapter_beside_the_request,
}
# Their answers do not matter: what they hit does.
CACHE_TWINS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "prefixes-outlive-the-load": _prefixes_outlive_the_load,
}
