"""Programs that must not type-check: each marked line with the code that mypy must give."""

from __future__ import annotations

from collections.abc import Sequence

from isolation.access import UNRESTRICTED
from isolation.context import OperatorContext, TenantContext
from isolation.identity import Identity, RegisteredAuthenticator
from rag.documents import DocumentPage, DocumentVersion, EmbeddedChunk, StoredChunk
from rag.in_process import SharedKnowledge
from rag.llama_index.index import TenantIndex
from rag.sdk import TenantClient
from rag.store.port import HybridQuery, TenantCollection, VectorStore
from rag.store.wrapping import WrappingCollection
from serving.adapters.leases import AdapterLeases
from serving.adapters.names import Reference
from serving.adapters.ports import AdapterRecord, TenantKeyring
from serving.adapters.registry import AdapterRegistry
from serving.admission.rates import ValkeyRates
from serving.embedded.library import Library


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


class NamesOnly:
    async def verify(self, credential: str) -> str:
        return credential


def registers_names() -> None:
    RegisteredAuthenticator(NamesOnly())  # expect: arg-type


def identity_that_sees_by_default() -> Identity:
    return Identity("acme", "business", "session")  # expect: call-arg


async def foreign_credential(library: Library[str]) -> None:
    library.authenticate(7)  # expect: arg-type


def library_by_name(library: Library[str]) -> None:
    library.of("acme")  # expect: attr-defined


def knowledge_by_name(knowledge: SharedKnowledge) -> None:
    knowledge.of("acme")  # expect: arg-type


def unbound_knowledge(knowledge: SharedKnowledge) -> None:
    knowledge.search("returns")  # expect: attr-defined


def index_of_everybody(knowledge: SharedKnowledge) -> TenantIndex:
    return TenantIndex(knowledge)  # expect: arg-type


def index_of_a_tenant(client: TenantClient) -> TenantIndex:
    return TenantIndex(client, tenant="acme")  # expect: call-arg


def client_of_a_tenant(client: TenantClient) -> None:
    client.search("returns", tenant="acme")  # expect: call-arg


def identity_renamed(identity: Identity) -> None:
    identity.access = UNRESTRICTED  # expect: misc


class ForgetsPassages(WrappingCollection):
    async def stage(self, version: DocumentVersion, chunks: Sequence[EmbeddedChunk]) -> None:
        await self._inner.stage(version, chunks)

    async def _chunks(self, found: list[StoredChunk]) -> list[StoredChunk]:
        return found

    async def _page(self, page: DocumentPage) -> DocumentPage:
        return page


def wrapper_that_forgets(own: TenantCollection) -> TenantCollection:
    return ForgetsPassages(own)  # expect: abstract


async def unbound_limits(rates: ValkeyRates) -> None:
    rates.of("acme")  # expect: arg-type
    rates.hold("request")  # expect: attr-defined
