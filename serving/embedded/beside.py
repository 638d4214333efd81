"""Adapters beside other gateways: what those revoke ends here, and what they load stays."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from isolation.context import OperatorContext
from serving.adapters.engine_names import EngineNames
from serving.adapters.neighbours import Shared
from serving.adapters.repeated import Repeated
from serving.adapters.residency import Residency
from serving.adapters.revocations import RevocationFollower
from serving.control.adapters import SqlAdapterIndex
from serving.control.database import Database
from serving.control.presence import BEAT_SECONDS, PATIENCE_SECONDS, GatewayPresence
from serving.settings import Settings

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Beside:
    """Who else may load into the engine. Both None: it is this process's own child."""

    presence: GatewayPresence | None = None
    shared: Shared | None = None


def grace_of(settings: Settings) -> float:
    """Seconds for which answers in flight may go on when their version is revoked."""
    return settings.adapter_grace_seconds if settings.adapter_revocation == "finish" else 0.0


@asynccontextmanager
async def beside_others(
    settings: Settings, database: Database, names: EngineNames
) -> AsyncGenerator[Beside, None]:
    """While the block runs, others know that this gateway is there: from before its first load."""
    if not settings.engine_urls:
        yield Beside()
        return
    presence = GatewayPresence(database, names.owner)
    await presence.beat()
    try:
        yield Beside(presence, Shared(names, presence))
    finally:
        try:
            await presence.leave()
        except Exception as error:
            # The database is away: the others find out by the silence.
            _log.warning("adapter.not_left", error=type(error).__name__)


@asynccontextmanager
async def following(
    settings: Settings,
    database: Database,
    residency: Residency,
    operator: OperatorContext,
    beside: Beside,
) -> AsyncGenerator[None, None]:
    """What other gateways revoke is followed while the block runs."""
    index = SqlAdapterIndex(database)
    follower = RevocationFollower(
        operator, index, residency, patience=settings.adapter_blind_seconds
    )
    beating = None
    if beside.presence is not None:
        # Silent for so long, it may be dead to the others, who tidy its adapters away.
        beating = Repeated(
            beside.presence.beat,
            follower.lost,
            every=BEAT_SECONDS,
            patience=PATIENCE_SECONDS,
            jumps=True,
        )
        beating.start()
    follower.start()
    try:
        yield
    finally:
        if beating is not None:
            await beating.close()
        await follower.close()
