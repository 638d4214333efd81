"""Which engine the settings name: one on this machine, or one that runs elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from isolation.context import OperatorContext
from isolation.namespaces import CacheScope
from isolation.tenant_id import TenantId
from serving.control.authentication import probe_tenant
from serving.engine.client import EngineClient
from serving.engine.launch import Worker
from serving.engine.link import EngineLink
from serving.engine.local import LocalEngine
from serving.engine.model_files import tokenizer_digest
from serving.engine.proof import signer_of
from serving.errors import EngineUnavailableError, StartupError
from serving.settings import Settings

# Raised when what stands in the prefix cache under a namespace changes its meaning.
_CACHE_VERSION = "1"
_BASE = "base"


class Engine(Protocol):
    """An engine that hands out its client only while it is proven."""

    @property
    def ready(self) -> bool:
        """Whether it has passed the probe and lives."""

    @property
    def detail(self) -> str:
        """What `/readyz` says of it."""

    def client(self) -> EngineClient:
        """Raises EngineUnavailableError when there is none."""

    def start(self) -> None:
        """Begin."""

    async def close(self) -> None:
        """End."""


def make_engine(
    settings: Settings,
    worker: Worker | None,
    operator: OperatorContext,
    on_refused: Callable[[str], None],
) -> Engine:
    """The engine, not yet started. `worker`: what to start here, when no URL is set."""
    tenant = probe_tenant(operator)
    signer, scrub = signer_of(settings), settings.kv_scrub == "on"
    if worker is not None:
        return LocalEngine(
            worker,
            _BASE,
            settings.data_dir,
            tenant,
            signer=signer,
            scrub=scrub,
            on_refused=on_refused,
        )
    if len(settings.engine_urls) != 1:
        raise StartupError("This version drives one engine: set BULKHEAD_ENGINE_URLS to one URL.")
    key = settings.engine_key.get_secret_value() if settings.engine_key else None
    client = EngineClient(
        settings.engine_urls[0], model=settings.model, api_key=key, signer=signer, scrub=scrub
    )
    adapters = settings.adapters == "on"
    return EngineLink(client, tenant, on_refused=on_refused, adapters=adapters)


class EngineKv:
    """Tenants' KV in the engine, for their deletion.

    ours: the engine is a child of this process, so one that does not run holds nothing.
    """

    def __init__(self, engine: Engine, *, ours: bool) -> None:
        self._engine = engine
        self._ours = ours

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Returns when the engine holds nothing of the tenant.

        Raises:
            EngineUnavailableError: it cannot be asked.
        """
        try:
            client = self._engine.client()
        except EngineUnavailableError:
            if self._ours:
                return
            raise
        await client.purge(operator, tenant)


def cache_scope(settings: Settings, model: Path | None) -> CacheScope:
    """What must agree, beside the tenant, before KV may be shared."""
    tokenizer = tokenizer_digest(model) if model is not None else ""
    return CacheScope(settings.model, tokenizer, adapter="", version=_CACHE_VERSION)
