"""Two tenants with near-identical documents: what the store contract plants, and how it asks.

What is relevant to one tenant is as relevant to the other, so that only a predicate keeps them
apart. A test with one tenant, or with tenants that speak of different things, cannot see a leak.
"""

from __future__ import annotations

from isolation.context import TenantContext
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Chunk, DocumentVersion, EmbeddedChunk, Passage
from rag.filters import Metadata, Where
from rag.store.port import HybridQuery, VectorStore

# What the engine's vectors have, in this contract.
DIMENSION = 4
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
BOTH = (FJELLVIK, VOLTBAY)
FACTS = {"fjellvik": "30 days", "voltbay": "14 days"}
NEAR = [1.0, 0.0, 0.0, 0.0]
RANKED = HybridQuery("boots tents", NEAR)
QUESTION = HybridQuery("how many days for returns", [1.0, 0.1, 0.0, 0.0])


def other(ctx: TenantContext) -> TenantContext:
    """The other one of the two."""
    return VOLTBAY if ctx is FJELLVIK else FJELLVIK


def embedded(*texts: str, dense: list[float] = NEAR) -> list[EmbeddedChunk]:
    """Texts as the chunks of one document."""
    return [EmbeddedChunk(Chunk(ordinal, text), dense) for ordinal, text in enumerate(texts)]


def returns(ctx: TenantContext) -> str:
    """The tenant's own fact, in words that both use."""
    return f"Returns are accepted within {FACTS[ctx.tenant_id]}"


async def put(
    store: VectorStore,
    ctx: TenantContext,
    document_id: str,
    *texts: str,
    version: str = "v1",
    metadata: Metadata | None = None,
    groups: frozenset[str] = frozenset(),
    dense: list[float] = NEAR,
) -> None:
    """Make `version` the document's only one."""
    written = DocumentVersion(document_id, version, "Returns", metadata or {}, groups)
    await store.of(ctx).upsert(written, embedded(*texts, dense=dense))


async def plant(store: VectorStore) -> None:
    """The same document of both tenants, under the same id, with contradicting facts."""
    for ctx in BOTH:
        await put(store, ctx, "returns", returns(ctx))


async def plant_ranked(store: VectorStore) -> None:
    """Three documents in a clear order, by words and by vectors, for `RANKED`: "boots" is first
    because it is rare among the tenant's documents."""
    await put(store, FJELLVIK, "a", "boots", dense=[1.0, 0.0, 0.0, 0.0])
    await put(store, FJELLVIK, "b", "tents tents", dense=[0.9, 0.4, 0.0, 0.0])
    await put(store, FJELLVIK, "c", "tents", dense=[0.8, 0.6, 0.0, 0.0])


async def found(
    store: VectorStore, ctx: TenantContext, *, limit: int = 100, where: Where | None = None
) -> list[Passage]:
    """What the tenant's search shows."""
    return await store.of(ctx).search(QUESTION, limit=limit, where=where)


async def texts(store: VectorStore, ctx: TenantContext) -> list[str]:
    """The texts of what the tenant's search shows, best first."""
    return [passage.text for passage in await found(store, ctx)]


async def listed(store: VectorStore, ctx: TenantContext, *, limit: int = 100) -> list[str]:
    """All document ids that a listing shows, page by page."""
    ids: list[str] = []
    after: str | None = None
    while True:
        page = await store.of(ctx).list(limit=limit, after=after)
        ids += [document.document_id for document in page.documents]
        if (after := page.after) is None:
            return ids


async def everything_seen(store: VectorStore, ctx: TenantContext) -> str:
    """All that any way of reading shows to a tenant, as one text to search in."""
    collection = store.of(ctx)
    ids = await listed(store, ctx)
    read = [await collection.get(document_id) for document_id in ids]
    chunks = [await collection.chunks(one, "v1", range(9), vectors=True) for one in ids]
    return repr((await found(store, ctx), ids, read, chunks, await collection.count()))
