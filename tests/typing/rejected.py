"""Programs that must not type-check: each marked line with the code that mypy must give."""

from __future__ import annotations

from isolation.context import OperatorContext, TenantContext
from rag.store.port import HybridQuery, VectorStore
from serving.adapters.leases import AdapterLeases
from serving.adapters.names import Reference
from serving.adapters.ports import AdapterRecord, TenantKeyring
from serving.adapters.registry import AdapterRegistry


async def unbound_search(store: VectorStore, query: HybridQuery) -> None:
    await store.search(query, limit=3)  # expect: attr-defined


def by_name(store: VectorStore) -> None:
    store.of("acme")  # expect: arg-type


def by_nothing(store: VectorStore) -> None:
    store.of(None)  # expect: arg-type


def by_operator(store: VectorStore, operator: OperatorContext) -> None:
    store.of(operator)  # expect: arg-type


def forged() -> TenantContext:
    return TenantContext()  # expect: abstract


def renamed(ctx: TenantContext) -> None:
    ctx.tenant_id = "acme"  # expect: misc


async def unbound_adapter(registry: AdapterRegistry, reference: Reference) -> None:
    await registry.find(reference)  # expect: attr-defined


def adapters_by_name(registry: AdapterRegistry) -> None:
    registry.of("acme")  # expect: arg-type


def unbound_lease(leases: AdapterLeases, record: AdapterRecord) -> None:
    leases.lease(record, 0.0)  # expect: attr-defined


async def revoked_by_a_tenant(
    registry: AdapterRegistry, ctx: TenantContext, reference: Reference
) -> None:
    await registry.revoke(ctx, ctx.tenant_id, reference)  # expect: arg-type


def key_by_name(keys: TenantKeyring) -> None:
    keys.of("acme")  # expect: arg-type
