"""The tenants under attack: near-identical documents, each with a canary of its own.

What is relevant to one tenant is as relevant to the others, so that only the boundary keeps them
apart. Store, catalogue, ingestion and retrieval are the real ones.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from random import Random

from evals.leakage.embedder import HashedWords
from isolation.access import restricted_to
from isolation.context import TenantContext
from isolation.tenant_id import TenantId
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import Document
from rag.embedding.port import Embedder
from rag.ingest import Ingestor
from rag.live import LiveRetriever
from rag.retrieval.retriever import Retriever
from rag.store.edge.store import EdgeVectorStore
from rag.store.port import VectorStore
from serving.control.catalog import SqlDocumentCatalog
from serving.control.database import Database
from serving.control.tenants import TenantRegistry

CANARY = re.compile(r"cnry[0-9a-f]{12}", re.IGNORECASE)
GROUPS = ("vip", "staff", "board")
# Subject, question, and the fact that each tenant has a number of its own for.
_TOPICS = (
    ("returns", "How many days do I have to return an item?", "Returns are accepted for {n} days"),
    ("delivery", "How long does delivery take?", "Delivery takes {n} hours in the whole country"),
    ("warranty", "How long is the warranty?", "The warranty covers defects for {n} months"),
    ("invoices", "When is my invoice due?", "Invoices are due within {n} days of the order"),
    ("repairs", "What does a repair cost?", "A repair costs {n} crowns without spare parts"),
    ("vouchers", "How long is a gift voucher valid?", "Gift vouchers are valid for {n} weeks"),
    ("loyalty", "How many points make a discount?", "A discount is given for {n} loyalty points"),
    ("support", "When does support answer?", "Support answers within {n} hours on working days"),
)


@dataclass(frozen=True, slots=True)
class Planted:
    """A document with its canary: in its title, its text and its metadata."""

    owner: TenantId
    question: str
    canary: str
    document: Document

    @property
    def id(self) -> str:
        return self.document.id


@dataclass(slots=True)
class World:
    """Tenants, what was planted for them, and the shared parts that are attacked."""

    tenants: list[TenantContext]
    embedder: Embedder
    store: VectorStore
    ingestor: Ingestor
    retriever: Retriever | LiveRetriever
    planted: dict[TenantId, list[Planted]] = field(default_factory=dict)
    canaries: dict[str, tuple[TenantId, frozenset[str]]] = field(default_factory=dict)
    versions: dict[tuple[TenantId, str], str] = field(default_factory=dict)

    def draft(
        self,
        ctx: TenantContext,
        document_id: str,
        random: Random,
        *,
        topic: int | None = None,
        text: str = "",
        groups: Iterable[str] = (),
    ) -> Planted:
        """A document of the tenant that is not written yet; its canary is known from now on."""
        subject, question, fact = _TOPICS[
            random.randrange(len(_TOPICS)) if topic is None else topic % len(_TOPICS)
        ]
        drawn = f"{ctx.tenant_id}/{document_id}/{random.getrandbits(64)}"
        canary = "cnry" + blake2b(drawn.encode(), digest_size=6).hexdigest()
        self.canaries[canary] = (ctx.tenant_id, frozenset(groups))
        number = random.randrange(10, 90)
        document = Document(
            document_id,
            f"About {subject} {canary}",
            f"{fact.format(n=number)}. {text} Reference {canary}.",
            {"lang": random.choice(("en", "no")), "year": 2020 + number % 5, "note": canary},
            frozenset(groups),
        )
        return Planted(ctx.tenant_id, question, canary, document)

    async def plant(self, per_tenant: int, random: Random) -> None:
        """Each tenant's documents, twelve or more: most under ids that all use, some under ids of
        the tenant's own, some of each group, so that every restricted key has something to miss."""
        for ctx in self.tenants:
            mine = self.planted.setdefault(ctx.tenant_id, [])
            for number in range(per_tenant):
                name, groups = f"document-{number}", frozenset[str]()
                if number % 4 == 1:
                    name = f"own-{random.getrandbits(40):x}"
                elif number % 4 == 3:
                    groups = frozenset({GROUPS[number // 4 % len(GROUPS)]})
                mine.append(self.draft(ctx, name, random, topic=number, groups=groups))
                await self.ingestor.of(ctx).ingest(mine[-1].document)
            await self._learn_versions(ctx)

    async def _learn_versions(self, ctx: TenantContext) -> None:
        for entry in await self.ingestor.of(ctx).list():
            self.versions[ctx.tenant_id, entry.document_id] = entry.version

    def two(self, random: Random) -> tuple[TenantContext, TenantContext]:
        """An attacker and its victim."""
        attacker, victim = random.sample(self.tenants, 2)
        if random.random() < 0.2:
            # Groups are a tenant's own: another's of the same name opens nothing.
            attacker = restricted(attacker, random)
        return attacker, victim

    def one(self, random: Random) -> tuple[TenantContext, TenantContext]:
        """A key that is restricted to groups, and an unrestricted one of the same tenant."""
        owner = random.choice(self.tenants)
        return restricted(owner, random), owner

    def may_see(self, ctx: TenantContext, canary: str) -> bool:
        """Whether the canary's document is the credential's to see."""
        owner, groups = self.canaries[canary]
        return owner == ctx.tenant_id and ctx.access.sees(groups)


def restricted(ctx: TenantContext, random: Random) -> TenantContext:
    """A key of the tenant that is restricted to one group, or to none."""
    groups = random.choice([(), *((group,) for group in GROUPS)])
    return tenant_for_tests(ctx.tenant_id, access=restricted_to(groups))


@asynccontextmanager
async def opened(
    folder: Path,
    tenants: int,
    wrap: Callable[[VectorStore], VectorStore] = lambda store: store,
) -> AsyncGenerator[World, None]:
    """The world below `folder`, made there if there is none; nothing is planted.

    wrap: what stands before the real store.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    database = await Database.open(f"sqlite+aiosqlite:///{folder}/bulkhead.db")
    embedder = HashedWords()
    edge = EdgeVectorStore.open(folder / "vectors", embedder.dimension)
    store = wrap(edge)
    world = World(
        named(tenants),
        embedder,
        store,
        Ingestor(store, SqlDocumentCatalog(database), embedder),
        Retriever(store, embedder),
    )
    try:
        await register(world.tenants, TenantRegistry(database))
        yield world
    finally:
        await edge.close()
        await database.close()


@asynccontextmanager
async def copied(
    known: World,
    source: Path,
    folder: Path,
    wrap: Callable[[VectorStore], VectorStore] = lambda store: store,
) -> AsyncGenerator[World, None]:
    """A copy, in `folder`, of the closed world in `source`, for what leaves traces."""
    await asyncio.to_thread(shutil.copytree, source, folder)
    async with opened(folder, len(known.tenants), wrap) as world:
        world.planted = {tenant: list(planted) for tenant, planted in known.planted.items()}
        world.canaries, world.versions = dict(known.canaries), dict(known.versions)
        yield world


def named(tenants: int) -> list[TenantContext]:
    """So many tenants."""
    return [tenant_for_tests(f"merchant-{number}") for number in range(tenants)]


async def register(tenants: Iterable[TenantContext], registry: TenantRegistry) -> None:
    """Add those that are not there yet."""
    operator = operator_for_tests()
    there = {tenant.id for tenant in await registry.list(operator)}
    for ctx in tenants:
        if ctx.tenant_id not in there:
            await registry.add(operator, ctx.tenant_id, "business")
