"""Platforms with one thing broken. Each must be seen by the judge, which else proves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import replace
from unittest.mock import patch

from serving.adapters.models import TenantModels
from serving.adapters.names import parse_reference
from serving.adapters.ports import AdapterRecord
from serving.engine.client import Delta, Job, TenantEngine

# As long as any look-up takes that stands between.
_AWAY_SECONDS = 0.01


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


TWINS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "version-ignored": _version_ignored,
    "adapter-beside-the-request": _adapter_beside_the_request,
}
