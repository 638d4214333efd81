"""Programs that must not type-check: each marked line with the code that mypy must give."""

from __future__ import annotations

from isolation.context import OperatorContext, TenantContext
from rag.store.port import HybridQuery, VectorStore


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
