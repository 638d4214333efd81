"""Masks conversations: every message, every time, with findings cached per tenant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.fair_slots import FairSlots
from isolation.masking.documents import DocumentMasking
from isolation.masking.findings import Analyzer, Finding
from isolation.masking.findings_cache import FindingsCache
from isolation.masking.given import Given
from isolation.masking.json_text import ToolText, json_text
from isolation.masking.masked_text import PLACEHOLDER, MaskedText, withheld
from isolation.masking.output import KINDS
from isolation.masking.output_names import NAME_KINDS
from isolation.masking.placeholders import LITERAL, Literals, Numbering, joined, replaced
from isolation.masking.policy import Action, Direction, MaskingPolicy, Policies, ToolLinks
from isolation.masking.vault import Outgoing, RequestVault
from isolation.tenant_id import TenantId

# Documents come in large numbers at once, and must not drive out what conversations need.
_CACHED_TEXTS, _CACHED_PIECES = 20_000, 5_000

Passage = str | MaskedText
Turn = str | ToolText


@dataclass(frozen=True, slots=True)
class MaskedTexts:
    """Texts and documents with placeholders, and the vault that restores them."""

    texts: list[str]
    documents: list[str]
    vault: RequestVault


class Masker:
    """Masks with one analyzer, by each tenant's policy.

    Clients send the whole conversation with each turn, so what was found is cached per tenant: only
    the new turn is analysed.

    at_once: how many texts the analyzer takes at the same time; before it, tenants have turns.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        policies: Policies,
        *,
        at_once: int = 1,
        cached_texts: int = _CACHED_TEXTS,
    ) -> None:
        self._policies = policies
        # Compiled now, and not in the first request.
        Literals(MaskingPolicy().kinds)
        self.slots = FairSlots(at_once)
        self._texts = FindingsCache(analyzer, cached_texts, self.slots)
        self._pieces = FindingsCache(analyzer, _CACHED_PIECES, self.slots)

    async def mask(
        self, ctx: TenantContext, texts: Sequence[Turn], documents: Sequence[Passage] = ()
    ) -> MaskedTexts:
        """All turns of one conversation, in order, and the passages that go with it. What was
        masked when it was ingested is only numbered anew.

        Raises:
            ContentBlockedError: the tenant's policy does not let something in them pass.
        """
        bound = require_tenant(ctx, "masking")
        request = _Request(bound, await self._policies.of(ctx), self._texts, documents)
        masked = [
            await request.of_tools(text.text)
            if isinstance(text, ToolText)
            else await request.masked(Direction.user, text)
            for text in texts
        ]
        passages = [
            request.renumbered(one)
            if isinstance(one, MaskedText)
            else await request.masked(Direction.documents, one)
            for one in documents
        ]
        return MaskedTexts(masked, passages, request.vault(ctx))

    async def documents(self, ctx: TenantContext) -> DocumentMasking | None:
        """How the tenant's documents are masked when they come in; None: they are not."""
        bound = require_tenant(ctx, "masking")
        policy = await self._policies.of(ctx)
        if not policy.acts(Direction.documents):
            return None

        async def find(text: str) -> list[Finding]:
            return await self._pieces.find(bound, policy.locale, text)

        return DocumentMasking(policy, find, self._pieces.analyzer.version)

    def forget(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Drop what is cached of a tenant that is being deleted."""
        require_operator(operator, "the masking cache")
        self._texts.forget(tenant)
        self._pieces.forget(tenant)


class _Request:
    """One request's placeholders, as they are given out."""

    def __init__(
        self,
        ctx: TenantContext,
        policy: MaskingPolicy,
        cache: FindingsCache,
        documents: Sequence[Passage],
    ) -> None:
        self._ctx = ctx
        self._policy = policy
        self._cache = cache
        self._documents = documents
        self._given: list[str] = []
        self._numbering = Numbering()
        # A policy may have had other kinds when a document came in.
        self._literals = Literals(policy.kinds | _kinds_in(documents))

    async def masked(self, direction: Direction, text: str) -> str:
        """A text with placeholders for what is found in it."""
        return replaced(text, await self._found(direction, text), self._numbering)

    async def of_tools(self, text: str) -> str:
        """The same for what goes to tools and comes from them: JSON stays JSON."""
        read = json_text(text)
        if read is None:
            return await self.masked(Direction.tools, text)
        return read.replaced(await self._found(Direction.tools, read.plain), self._numbering)

    def renumbered(self, masked: MaskedText) -> str:
        """A document's text with the request's placeholders in place of its own."""
        own: dict[str, str] = {}

        def placeholder(written: str) -> str:
            if written not in own:
                own[written] = self._placeholder(masked, written)
            return own[written]

        return self._literals.replaced(masked.text, placeholder)

    def vault(self, ctx: TenantContext) -> RequestVault:
        """What restores them."""
        policy = self._policy
        masked = [one for one in self._documents if isinstance(one, MaskedText)]
        looked_for = {*KINDS, *NAME_KINDS}
        outgoing = Outgoing(
            Given([*self._given, *policy.allow], masked),
            policy.acted_on(Direction.output, Action.mask) & looked_for,
            policy.canaries,
            policy.acted_on(Direction.tools, Action.block),
            policy.tool_links is ToolLinks.removed,
            policy.acted_on(Direction.output, Action.block) & looked_for,
            partial(self._cache.analyzed, ctx, policy.locale),
        )
        return RequestVault(ctx, self._numbering.values(), outgoing)

    async def _found(self, direction: Direction, text: str) -> list[Finding]:
        self._given.append(text)
        return joined(self._literals.find(text), await self._wanted(direction, text))

    async def _wanted(self, direction: Direction, text: str) -> list[Finding]:
        if not self._policy.acts(direction):
            return []
        found = await self._cache.find(self._ctx, self._policy.locale, text)
        return self._policy.judged(direction, text, found)

    def _placeholder(self, masked: MaskedText, written: str) -> str:
        kind = PLACEHOLDER.fullmatch(written)
        if kind is None or written not in masked.values:
            return self._numbering.placeholder(LITERAL, written)
        value = masked.values[written]
        if value is None:
            of = f"{masked.document}\0{written}"
            return self._numbering.placeholder(kind[1], withheld(kind[1]), of)
        return self._numbering.placeholder(kind[1], value)


def _kinds_in(documents: Sequence[Passage]) -> set[str]:
    names = (name for one in documents if isinstance(one, MaskedText) for name in one.values)
    return {match[1] for match in map(PLACEHOLDER.fullmatch, names) if match is not None}
