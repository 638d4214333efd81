"""The control: the same calls with a minted context type-check."""

from __future__ import annotations

from isolation.access import UNRESTRICTED
from isolation.context import TenantContext
from isolation.identity import CredentialVerifier, Identity, RegisteredAuthenticator
from rag.documents import Passage
from rag.llama_index.index import TenantIndex
from rag.sdk import TenantClient
from rag.store.port import HybridQuery, VectorStore
from serving.embedded.library import Library


async def bound(store: VectorStore, ctx: TenantContext, query: HybridQuery) -> list[Passage]:
    return await store.of(ctx).search(query, limit=3)


async def authenticated(verifier: CredentialVerifier[bytes]) -> TenantContext:
    return await RegisteredAuthenticator(verifier).authenticate(b"token")


def identified() -> Identity:
    return Identity("acme", "business", "session", UNRESTRICTED)


def indexes(client: TenantClient, library: Library[str]) -> list[TenantIndex]:
    return [TenantIndex(client), TenantIndex(library.authenticate("token"))]
