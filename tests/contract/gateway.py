"""The real gateway application with its real keys and ledger, on parts that can be made to leak.

The twin shows that the probes see leaks; this shows that they judge the platform itself, and that
a part that leaks behind its routes is seen from outside.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from evals.contract.target import Account
from isolation.context import TenantContext
from isolation.guard.links import LinkGuard
from isolation.masking.conversations import ConversationTokens
from isolation.masking.findings import Finding
from isolation.masking.masker import MaskedTexts, Masker, Turn
from isolation.masking.masker import Passage as Given
from isolation.masking.policy import StandardPolicies
from isolation.masking.restoring import Restoring
from isolation.masking.vault import RequestVault
from isolation.namespaces import CacheScope, NamespaceDeriver
from isolation.sealing import TenantCipher
from isolation.streaming import Chain, StreamTransform
from isolation.tenant_id import TenantId, tenant_id
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.catalog import CatalogEntry
from rag.documents import Document, Passage
from rag.errors import DocumentNotFoundError
from rag.filters import Where
from rag.retrieval.follow_up import Question
from serving.control.authentication import ApiKeyAuthenticator
from serving.control.tenants import TenantRegistry
from serving.control.usage import TenantLedger, UsageLedger
from serving.engine.client import EngineClient
from serving.engine.tokens import ByteCounter
from serving.gateway.app import create_app
from serving.gateway.chat import ChatService
from serving.gateway.chat_parts import ChatOptions, ChatParts
from serving.gateway.counting import Counting
from serving.gateway.ports import Retrieval
from tests.databases import fresh_database
from tests.gateway.fake_documents import Outcome
from tests.gateway.fake_rates import Rates
from tests.gateway.fakes import (
    Files,
    Guard,
    Ledger,
    Limiter,
    OwnKeys,
    Queue,
    Search,
    runtime,
)
from tests.gateway.unsuspected import Unsuspected
from tests.signing import signer_for_tests
from tests.stub_engine import StubEngine

TENANTS = ("acme", "birch")
_MAIL = re.compile(r"\w+@[\w.]+\w")
_WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)


class PrefixEngine(StubEngine):
    """Its cache is a tree, as SGLang's: counts the words that any earlier prompt began with."""

    def __init__(self, *, salted: bool = True) -> None:
        super().__init__(salted=salted)
        self._prompts: dict[str, list[list[str]]] = {}

    def _usage(self, body: dict[str, Any]) -> dict[str, Any]:
        known = self._prompts.setdefault(body["cache_salt"] if self.salted else "", [])
        prompt = " ".join(message["content"] for message in body["messages"]).split()
        cached = max((_common(prompt, earlier) for earlier in known), default=0)
        known.append(prompt)
        return {
            "prompt_tokens": len(prompt),
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": cached},
        }


@dataclass
class Library:
    """Documents that are found by their words. `leaky`: a search goes through everybody's."""

    leaky: bool = False
    documents: dict[tuple[TenantId, str], Document] = field(default_factory=dict)

    def of(self, ctx: TenantContext) -> Shelf:
        return Shelf(self, ctx.tenant_id)


@dataclass
class Shelf:
    library: Library
    tenant: TenantId

    async def search(
        self, question: Question, *, limit: int, where: Where | None = None
    ) -> list[Passage]:
        # A filter only narrows, and nothing planted has metadata: it is not applied here.
        words = _words(question.text)
        found = [
            Passage(owner, name, "v1", 0, document.title, document.text, float(score))
            for (owner, name), document in self.library.documents.items()
            if owner == self.tenant or self.library.leaky
            if (score := len(words & _words(document.text)))
        ]
        best = sorted(found, key=lambda passage: -passage.score)[:limit]
        # Each text once, as the real retriever does.
        return list({passage.text: passage for passage in best}.values())

    async def ingest(self, document: Document) -> Outcome:
        self.library.documents[self.tenant, document.id] = document
        return Outcome("created", 1)

    async def get(self, document_id: str) -> CatalogEntry:
        document = self.library.documents.get((self.tenant, document_id))
        if document is None:
            raise DocumentNotFoundError
        return _entry(document)

    async def delete(self, document_id: str) -> None:
        await self.get(document_id)
        del self.library.documents[self.tenant, document_id]

    async def page(self, *, after: str | None, limit: int) -> list[CatalogEntry]:
        own = [
            _entry(document)
            for (owner, name), document in sorted(self.library.documents.items())
            if owner == self.tenant and name > (after or "")
        ]
        return own[:limit]


class OneKey:
    """Deliberately leaky: all tenants' conversation tokens under one tenant's key."""

    async def cipher(self, ctx: TenantContext) -> TenantCipher:
        return await OwnKeys().cipher(tenant_for_tests(TENANTS[0]))


class Mails:
    """An analyzer that finds e-mail addresses."""

    version = "1"

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        return [Finding(*match.span(), "EMAIL_ADDRESS") for match in _MAIL.finditer(text)]


class OneVault(Masker):
    """Deliberately leaky: tool calls are restored from what any request has held."""

    def __init__(self) -> None:
        super().__init__(Mails(), StandardPolicies())
        self._held: dict[str, str] = {}

    async def mask(
        self, ctx: TenantContext, texts: Sequence[Turn], documents: Sequence[Given] = ()
    ) -> MaskedTexts:
        masked = await super().mask(ctx, texts, documents)
        mine = {
            name: value for name, value in masked.vault._values.items() if "LITERAL" not in name
        }
        self._held |= mine
        return replace(masked, vault=LeakyVault(ctx, self._held | masked.vault._values))


class LeakyVault(RequestVault):
    def argument(self, ctx: TenantContext) -> StreamTransform:
        # Twice: what was typed in a placeholder's form is taken for one.
        return Chain([Restoring(self._values), Restoring(self._values)])


class OneForAllLedger(UsageLedger):
    """Deliberately leaky: every tenant is shown, and charged on, one account."""

    def of(self, ctx: TenantContext) -> TenantLedger:
        return super().of(tenant_for_tests(TENANTS[0]))


@asynccontextmanager
async def gateway(
    folder: Path,
    *,
    library: Library,
    salted: bool = True,
    one_ledger: bool = False,
    guarded: bool = True,
    one_key: bool = False,
    one_vault: bool = False,
) -> AsyncGenerator[tuple[ASGIApp, Sequence[Account]], None]:
    """The application, and an account of each of two tenants."""
    database = await fresh_database(folder / "bulkhead.db")
    ledger = (OneForAllLedger if one_ledger else UsageLedger)(database)
    ledger.start()
    async with PrefixEngine(salted=salted).serving() as url:
        engine = EngineClient(url, model="m", api_key="k", signer=signer_for_tests())
        files = Files(folder / "uploads")
        parts = runtime(engine, search=Search(), limiter=Limiter(), ledger=Ledger(), files=files)
        tokens = ConversationTokens(OneKey() if one_key else OwnKeys())
        parts = replace(
            parts,
            conversations=tokens,
            registry=TenantRegistry(database),
            tenants_keys=ApiKeyAuthenticator(database),
            usage=ledger,
            chat=chat_service(engine, library, ledger, guarded, tokens, one_vault),
            retriever=library,
            ingestor=library,
        )
        yield create_app(parts), [await _account(parts.registry, name) for name in TENANTS]
        await engine.close()
        files.parsers.close()
    await ledger.close()
    await database.close()


def chat_service(
    engine: EngineClient,
    retriever: Retrieval,
    ledger: UsageLedger,
    guarded: bool,
    tokens: ConversationTokens,
    one_vault: bool = False,
) -> ChatService:
    """Chats over `retriever`."""
    parts = ChatParts(
        engine=lambda: engine,
        tokens=ByteCounter,
        counting=Counting(),
        namespaces=NamespaceDeriver(b"k" * 32),
        scope=CacheScope("m", "t", "", "1"),
        limiter=Limiter(),
        rates=Rates(),
        suspects=Unsuspected(),
        queue=Queue(),
        usage=ledger,
        policies=StandardPolicies(),
        masker=OneVault() if one_vault else Masker(Mails(), StandardPolicies()),
        retriever=retriever,
        refusal=None,
        guard=lambda ctx: LinkGuard() if guarded else Guard(),
        conversations=tokens,
    )
    return ChatService(parts, ChatOptions(3, 1_000, 64, 5))


async def _account(registry: TenantRegistry, name: str) -> Account:
    operator = operator_for_tests()
    await registry.add(operator, tenant_id(name), "business")
    return Account(name, (await registry.issue_key(operator, tenant_id(name))).text)


def _entry(document: Document) -> CatalogEntry:
    # A document's time is that of its writing: here, where none is kept, one for all.
    return CatalogEntry(document.id, document.title, "v1", document.fingerprint, 1, _WRITTEN)


def _words(text: str) -> set[str]:
    return {word.strip("?.#,").lower() for word in text.split()} - {""}


def _common(a: list[str], b: list[str]) -> int:
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))
