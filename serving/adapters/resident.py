"""One adapter in the engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from isolation.context import TenantContext
from serving.adapters.engine_names import EngineName
from serving.adapters.ports import AdapterRecord

Key = tuple[str, str, int, str]


def key_of(record: AdapterRecord) -> Key:
    """What makes two requests want the same load."""
    return (record.tenant, record.name, record.version, record.upload)


@dataclass(slots=True, eq=False)
class Resident:
    """An adapter that is in the engine, on its way there, or on its way out (`ending`).

    Times are the event loop's, in seconds. `leases` counts the requests that hold it, those that
    wait for its load too. `asked`: the engine was told to load it. `revoked` is set when requests
    in flight must end.
    """

    ctx: TenantContext
    record: AdapterRecord
    engine_name: EngineName
    pinned: bool
    used_at: float
    loading: asyncio.Task[None] | None = None
    load_seconds: float = 0.0
    loaded_at: float | None = None
    accounted_at: float = 0.0
    size: int = 0
    leases: int = 0
    asked: bool = False
    ending: bool = False
    revoked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def idle(self) -> bool:
        """Whether it could be evicted: loaded, and nobody's at the moment."""
        return self.loaded_at is not None and not self.leases and not self.ending
