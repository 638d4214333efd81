"""Hand-written parts for a gateway without its real ones: two tenants, contradicting facts."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from isolation.context import OperatorContext, TenantContext
from isolation.errors import InvalidApiKeyError
from isolation.masking.conversations import Conversation, ConversationTokens
from isolation.masking.json_text import ToolText
from isolation.masking.policy import StandardPolicies
from isolation.namespaces import CacheScope, NamespaceDeriver
from isolation.sealing import TenantCipher
from isolation.streaming import Unchanged
from isolation.tenant_id import TenantId
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import Passage
from rag.filters import Where
from rag.reading.limits import ReadingLimits
from rag.reading.parsers import Parsers
from rag.retrieval.compression import Compressor
from rag.retrieval.follow_up import Question
from rag.spool import Spool
from rag.transfer import TenantTransfer
from serving.control.database import Database
from serving.control.dead_letters import CrashLedger
from serving.control.deletion import TenantDeletion
from serving.control.placement import TenantPlaces
from serving.control.policies import PolicyRegistry
from serving.control.tenants import TenantRegistry
from serving.control.usage import UsageLedger
from serving.engine.client import EngineClient
from serving.engine.tokens import ByteCounter
from serving.errors import ConcurrencyLimitError
from serving.gateway.chat import ChatService
from serving.gateway.chat_parts import ChatOptions, ChatParts
from serving.gateway.counting import Counting
from serving.gateway.ports import Exporter, PublicPrefixes, Reembedding, Suspects
from serving.gateway.ports import Rates as RatesPort
from serving.gateway.refusal import Refusal
from serving.gateway.runtime import DemoTenant, Readiness, Runtime
from serving.metering.metrics import Metrics
from serving.metering.usage import UsageRecord
from serving.settings import Settings
from tests.gateway.fake_documents import Documents
from tests.gateway.fake_rates import Rates
from tests.gateway.unsuspected import Unsuspected

KEYS = {"key-f": tenant_for_tests("fjellvik"), "key-v": tenant_for_tests("voltbay")}
# Of a prompt.
SENTENCES = 6
FACTS = {"fjellvik": "Returns within 30 days.", "voltbay": "Returns within 14 days."}


class Keys:
    async def authenticate(self, bearer: str) -> TenantContext:
        if bearer not in KEYS:
            raise InvalidApiKeyError
        return KEYS[bearer]


class OperatorKeys:
    def authenticate(self, bearer: str) -> OperatorContext:
        if bearer != "operator":
            raise InvalidApiKeyError
        return operator_for_tests()


@dataclass
class Search:
    """Each tenant's one passage; `leaky` returns everybody's to everybody.

    `similarities`: of a tenant's passage to whatever is asked. `asked`: by whom, what.
    """

    leaky: bool = False
    title: str = "Returns"
    similarities: dict[str, float] = field(default_factory=dict)
    asked: list[tuple[str, Question]] = field(default_factory=list)

    def of(self, ctx: TenantContext) -> TenantSearch:
        return TenantSearch(self, ctx)


@dataclass
class TenantSearch:
    search_of: Search
    ctx: TenantContext

    async def search(
        self, question: Question, *, limit: int, where: Where | None = None
    ) -> list[Passage]:
        self.search_of.asked.append((self.ctx.tenant_id, question))
        owners = list(FACTS) if self.search_of.leaky else [self.ctx.tenant_id]
        return [self._passage(owner) for owner in owners][:limit]

    def _passage(self, owner: str) -> Passage:
        title, similarity = self.search_of.title, self.search_of.similarities.get(owner, 1.0)
        return Passage(TenantId(owner), "returns.md", "v1", 0, title, FACTS[owner], 1.0, similarity)


class Pass:
    """A transform that changes nothing."""

    def feed(self, text: str) -> str:
        return text

    def flush(self) -> str:
        return ""


class Guard:
    def clean(self, text: str) -> str:
        return text

    def stream(self) -> Pass:
        return Pass()


class Restoring:
    """Holds text back while it may be the beginning of a placeholder."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values, self._held = values, ""

    def feed(self, text: str) -> str:
        ready, mark, rest = (self._held + text).rpartition("<")
        if not mark or ">" in rest:
            ready, mark, rest = self._held + text, "", ""
        self._held = mark + rest
        return self._restored(ready)

    def flush(self) -> str:
        ready, self._held = self._held, ""
        return self._restored(ready)

    def _restored(self, text: str) -> str:
        for placeholder, value in self._values.items():
            text = text.replace(placeholder, value)
        return text


class OwnKeys:
    """A key for each tenant, made of its name."""

    async def cipher(self, ctx: TenantContext) -> TenantCipher:
        return TenantCipher(ctx.tenant_id, hashlib.sha256(ctx.tenant_id.encode()).digest())


class Vault:
    tripped = 0
    guards_tool_links = True

    def masked_answer(self, ctx: TenantContext) -> Pass:
        return Pass()

    async def conversation(
        self, ctx: TenantContext, tokens: ConversationTokens, name: str
    ) -> Conversation:
        return await tokens.issue(ctx, name, {"<EMAIL_1>": "ada@example.com"})

    def answer(self, ctx: TenantContext) -> Restoring:
        return Restoring({"<EMAIL_1>": "ada@example.com"})

    def names(self, ctx: TenantContext) -> Unchanged:
        return Unchanged()

    def argument(self, ctx: TenantContext) -> Restoring:
        return self.answer(ctx)

    def clean(self, text: str) -> str:
        return text


@dataclass
class Masked:
    texts: list[str]
    documents: list[str]
    vault: Vault


class Masker:
    async def mask(
        self, ctx: TenantContext, texts: Sequence[str | ToolText], documents: Sequence[str] = ()
    ) -> Masked:
        given = [text.text if isinstance(text, ToolText) else text for text in texts]
        masked = [text.replace("ada@example.com", "<EMAIL_1>") for text in given]
        return Masked(masked, list(documents), Vault())


@dataclass
class Limiter:
    """Counts per tenant, in this process."""

    running: dict[str, int] = field(default_factory=dict)

    def of(self, ctx: TenantContext) -> TenantLimiter:
        return TenantLimiter(self, ctx)


@dataclass
class TenantLimiter:
    limiter: Limiter
    ctx: TenantContext

    @asynccontextmanager
    async def slot(self, request_id: str) -> AsyncGenerator[None, None]:
        running, tenant = self.limiter.running, self.ctx.tenant_id
        if running.get(tenant, 0) >= self.ctx.tier.max_concurrency:
            raise ConcurrencyLimitError
        running[tenant] = running.get(tenant, 0) + 1
        try:
            yield
        finally:
            running[tenant] -= 1


class Turn:
    def charge(self, *, output_tokens: int) -> None:
        pass


class Queue:
    def of(self, ctx: TenantContext) -> Queue:
        return self

    @asynccontextmanager
    async def turn(self, *, prompt_tokens: int, deadline: float) -> AsyncGenerator[Turn, None]:
        assert deadline > time.monotonic()
        yield Turn()


@dataclass
class Ledger:
    records: list[tuple[str, UsageRecord]] = field(default_factory=list)

    def of(self, ctx: TenantContext) -> TenantLedger:
        return TenantLedger(self, ctx)


@dataclass
class TenantLedger:
    ledger: Ledger
    ctx: TenantContext

    async def record(self, record: UsageRecord) -> None:
        self.ledger.records.append((self.ctx.tenant_id, record))


class Embedder:
    name = "all-MiniLM-L6-v2"
    dimension = 2
    checksum = "none"

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def close(self) -> None:
        pass


class Files:
    """Where uploads lie, and who reads them; real, and started at the first file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = Spool(folder)
        self.parsers = Parsers(self.spool, ReadingLimits(size=2_000_000, seconds=3))


def demo_tenants() -> list[DemoTenant]:
    return [DemoTenant(str(ctx.tenant_id), key, "business") for key, ctx in KEYS.items()]


def plain_runtime(engine: EngineClient, folder: Path) -> Runtime:
    """`runtime`, where nothing about the parts matters but the engine."""
    files = Files(folder / "uploads")
    return runtime(engine, search=Search(), limiter=Limiter(), ledger=Ledger(), files=files)


def runtime(
    engine: EngineClient,
    *,
    search: Search,
    limiter: Limiter,
    ledger: Ledger,
    files: Files,
    demo: bool = False,
    refusal: Refusal | None = None,
    rates: RatesPort | None = None,
    suspects: Suspects | None = None,
) -> Runtime:
    """A gateway's parts around a real engine client."""
    parts = ChatParts(
        engine=lambda: engine,
        tokens=ByteCounter,
        counting=Counting(),
        namespaces=NamespaceDeriver(b"k" * 32),
        scope=CacheScope("m", "t", "", "1"),
        limiter=limiter,
        rates=Rates() if rates is None else rates,
        suspects=Unsuspected() if suspects is None else suspects,
        queue=Queue(),
        usage=ledger,
        policies=StandardPolicies(),
        masker=Masker(),
        retriever=search,
        refusal=refusal,
        guard=lambda ctx: Guard(),
        conversations=ConversationTokens(OwnKeys()),
        compressor=Compressor(Embedder, SENTENCES),
    )
    options = ChatOptions(top_k=3, passage_tokens=400, default_max_tokens=64, queue_seconds=5)
    return Runtime(
        settings=Settings(max_file_bytes=2_000_000),
        # The operator's routes are tested on the real database (tests/embedded).
        registry=TenantRegistry(cast("Database", None)),
        policies=PolicyRegistry(cast("Database", None)),
        deletion=cast("TenantDeletion", None),
        places=cast("TenantPlaces", None),
        transfer=cast("TenantTransfer", None),
        usage=UsageLedger(cast("Database", None)),
        crashes=CrashLedger(cast("Database", None)),
        metrics=Metrics(),
        tenants_keys=Keys(),
        operator_keys=OperatorKeys(),
        chat=ChatService(parts, options),
        retriever=search,
        ingestor=Documents(),
        spool=files.spool,
        parsers=files.parsers,
        exporter=cast("Exporter", None),
        conversations=parts.conversations,
        embedder=Embedder(),
        reembedding=cast("Reembedding", None),
        public_prefixes=cast("PublicPrefixes", None),
        readiness=lambda: Readiness(True, "ready"),
        demo=demo_tenants if demo else tuple,
    )
