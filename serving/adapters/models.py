"""From the model that a request names to an adapter that answers it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from isolation.context import TenantContext, require_tenant
from serving.adapters.errors import AdapterNotFoundError
from serving.adapters.leases import AdapterLeases, Lease
from serving.adapters.names import parse_reference
from serving.adapters.ports import AdapterRecord
from serving.adapters.registry import AdapterRegistry
from serving.errors import ModelNotFoundError


class AdapterModels:
    """Adapters as models. Bind it first."""

    def __init__(self, registry: AdapterRegistry, leases: AdapterLeases) -> None:
        self._registry = registry
        self._leases = leases

    def of(self, ctx: TenantContext) -> TenantModels:
        """The models of this tenant."""
        return TenantModels(require_tenant(ctx, "the adapters"), self._registry, self._leases)


class TenantModels:
    """One tenant's adapters as models."""

    def __init__(
        self, ctx: TenantContext, registry: AdapterRegistry, leases: AdapterLeases
    ) -> None:
        self._own = registry.of(ctx)
        self._leases = leases.of(ctx)

    async def resolve(self, model: str) -> AdapterRecord:
        """The adapter that a request means: authorization, before anything is loaded.

        Raises:
            ModelNotFoundError: unknown, another tenant's, revoked, or no name at all: the same
                query, the same answer.
        """
        record = await self._own.find(parse_reference(model))
        if record is None:
            raise ModelNotFoundError
        return record

    def prefetch(self, record: AdapterRecord) -> None:
        """Begin to load, while the request is prepared."""
        self._leases.prefetch(record)

    @asynccontextmanager
    async def lease(self, record: AdapterRecord, deadline: float) -> AsyncGenerator[Lease, None]:
        """Hold it in the engine while the block runs. `deadline`: monotonic clock, seconds.

        Raises:
            ModelNotFoundError: it was revoked or deleted since it was resolved.
            AdapterUnavailableError: no place until then, or it cannot be loaded.
        """
        try:
            async with self._leases.lease(record, deadline) as lease:
                yield lease
        except AdapterNotFoundError:
            raise ModelNotFoundError from None
