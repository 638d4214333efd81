"""Adapters, put together: the registry beside the data, residency beside the engine."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from isolation.context import OperatorContext
from serving.adapters.base_model import BaseModel, read_base_model
from serving.adapters.checks import AdapterLimits
from serving.adapters.engine_names import EngineNames
from serving.adapters.errors import AdapterUnavailableError
from serving.adapters.eviction import Places
from serving.adapters.leases import AdapterLeases
from serving.adapters.manifest import ManifestSigner
from serving.adapters.memory import PrivateMemory
from serving.adapters.models import AdapterModels
from serving.adapters.objects import AdapterObjects
from serving.adapters.registry import AdapterRegistry
from serving.adapters.registry_parts import RegistryParts
from serving.adapters.residency import Residency, ResidencyParts
from serving.adapters.sealed_files import SealedFiles
from serving.adapters.uploads import Uploads
from serving.control.adapters import SqlAdapterIndex
from serving.control.database import Database
from serving.control.residency import ResidencyLedger
from serving.control.tenant_keys import TenantKeys
from serving.embedded.beside import beside_others, following, grace_of
from serving.embedded.rollouts import RolloutStore
from serving.engine.client import EngineClient
from serving.engine.lora import SglangLora
from serving.engine.model_files import DEFAULT_MODEL, model_folder
from serving.gateway.runtime import AdapterParts
from serving.key_files import derived_key, gateway_id, previous_key
from serving.key_wrapping import KeyFile
from serving.metering.metrics import Metrics
from serving.settings import Settings

_TENANT_KEYS, _MANIFESTS = "tenant keys", "adapter manifests"


@dataclass(frozen=True, slots=True)
class AdapterStore:
    """The registry with what belongs to it.

    memory, parts: None where the operator switched adapters off. The registry is there all the
    same: what was stored before is deleted with its tenant.
    """

    database: Database
    registry: AdapterRegistry
    ledger: ResidencyLedger
    rollouts: RolloutStore
    memory: PrivateMemory | None
    parts: AdapterParts | None


async def open_tenant_keys(
    settings: Settings, database: Database, operator: OperatorContext
) -> TenantKeys:
    """Each tenant's key; wrapped anew, if the master key was rotated.

    Raises:
        KeyNotOpenedError: the previous master key is not the one that wrapped them.
    """
    keys = TenantKeys(database, KeyFile(derived_key(settings, _TENANT_KEYS)))
    previous = previous_key(settings, _TENANT_KEYS)
    if previous is not None:
        await keys.rewrap(operator, KeyFile(previous))
    return keys


async def open_adapters(
    settings: Settings,
    database: Database,
    keys: TenantKeys,
    operator: OperatorContext,
    stack: AsyncExitStack,
) -> AdapterStore:
    """The registry, after what a kill interrupted was swept up.

    Raises:
        StartupError: the store or the memory cannot be used.
    """
    parts = RegistryParts(
        index=SqlAdapterIndex(database),
        files=SealedFiles(AdapterObjects.open(_store_url(settings))),
        keys=keys,
        signer=ManifestSigner(derived_key(settings, _MANIFESTS)),
        base=_base_model(settings),
        limits=AdapterLimits(
            settings.adapter_rank, settings.adapter_max_bytes, settings.adapter_max_versions
        ),
    )
    registry, ledger = AdapterRegistry(parts), ResidencyLedger(database)
    rollouts = RolloutStore.over(database)
    previous = previous_key(settings, _MANIFESTS)
    if previous is not None:
        await registry.resign(operator, ManifestSigner(previous))
    await registry.sweep(operator)
    if settings.adapters == "off":
        return AdapterStore(database, registry, ledger, rollouts, None, None)
    memory = PrivateMemory.open(memory_root(settings))
    stack.callback(memory.close)
    seen = AdapterParts(registry, Uploads(memory), ledger, rollouts.rollouts)
    return AdapterStore(database, registry, ledger, rollouts, memory, seen)


@asynccontextmanager
async def open_models(
    settings: Settings,
    store: AdapterStore,
    operator: OperatorContext,
    engine: Callable[[], EngineClient],
    metrics: Metrics,
) -> AsyncGenerator[AdapterModels | None, None]:
    """Adapters as models, loaded into the engine on demand while the block runs. None: off."""
    if store.memory is None:
        yield None
        return
    names = EngineNames(derived_key(settings, "adapter engine names"), gateway_id(settings))
    async with beside_others(settings, store.database, names) as beside:
        residency = Residency(
            ResidencyParts(
                engine=SglangLora(operator, engine),
                registry=store.registry,
                memory=store.memory,
                names=names,
                sink=store.ledger,
                metrics=metrics,
                places=Places(settings.adapter_capacity, settings.adapter_minimum_seconds),
                shared=beside.shared,
                grace=grace_of(settings),
            )
        )
        residency.start()
        try:
            async with following(settings, store.database, residency, operator, beside):
                yield AdapterModels(store.registry, AdapterLeases(residency))
        finally:
            await residency.close()


def memory_root(settings: Settings) -> Path:
    """Where this data folder's gateway keeps plaintext weights for as long as a load takes."""
    owner = hashlib.sha256(str(settings.data_dir.absolute()).encode()).hexdigest()[:16]
    return settings.adapter_memory / f"bulkhead-{owner}"


def _store_url(settings: Settings) -> str:
    return settings.adapter_url or str((settings.data_dir / "adapters").absolute())


def _base_model(settings: Settings) -> Callable[[], BaseModel]:
    @functools.cache
    def read() -> BaseModel:
        folder = settings.model_path
        if folder is None and not settings.engine_urls:
            folder = model_folder(DEFAULT_MODEL)
        if folder is None or not folder.exists():
            raise AdapterUnavailableError(
                "The platform does not know its base model's shapes. "
                "Its operator sets BULKHEAD_MODEL_PATH."
            )
        return read_base_model(settings.model, folder)

    return read
