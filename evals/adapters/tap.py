"""What reaches the engine, under which load of which adapter; seen where the client sends it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from serving.adapters.engine_names import EngineName, EngineNames
from serving.adapters.ports import AdapterRecord
from serving.engine.client import Delta, Job, TenantEngine

Version = tuple[str, str, int]  # tenant, name, version
Load = tuple[str, int]  # the engine's name, and how often it was given before


@dataclass(slots=True)
class Call:
    """One generation. Times are monotonic seconds; `ended` is that of the usage's arrival.

    load: with an empty name, the base model.
    """

    tenant: str
    load: Load
    prompt: str
    begun: float
    ended: float = float("inf")
    prompt_tokens: int = 0
    cached: int = 0


@dataclass(slots=True)
class Tap:
    """Records while it is attached. `sampling`: what is sent in place of the caller's."""

    calls: list[Call] = field(default_factory=list)
    versions: dict[Load, Version] = field(default_factory=dict)
    sampling: Mapping[str, Any] | None = None
    _given: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def attached(self) -> Generator[None, None, None]:
        """Every client and every load of this process is seen while the block runs."""
        stream, new = TenantEngine.stream, EngineNames.new

        def named(names: EngineNames, record: AdapterRecord) -> EngineName:
            name = new(names, record)
            self._given[name] += 1
            load = (name, self._given[name] - 1)
            self.versions[load] = (record.tenant, record.name, record.version)
            return name

        async def seen(engine: TenantEngine, job: Job) -> AsyncGenerator[Delta, None]:
            asked = job if self.sampling is None else replace(job, sampling=self.sampling)
            call = self._begun(engine, job)
            async with aclosing(stream(engine, asked)) as deltas:
                async for delta in deltas:
                    if delta.usage is not None:
                        call.ended = time.monotonic()
                        call.prompt_tokens = delta.usage.prompt
                        call.cached = delta.usage.cached
                    yield delta

        with patch.object(TenantEngine, "stream", seen), patch.object(EngineNames, "new", named):
            yield

    def _begun(self, engine: TenantEngine, job: Job) -> Call:
        prompt = "\n".join(turn["content"] for turn in job.messages)
        load = (job.adapter, max(0, self._given[job.adapter] - 1))
        call = Call(engine._ctx.tenant_id, load, prompt, time.monotonic())
        self.calls.append(call)
        return call
