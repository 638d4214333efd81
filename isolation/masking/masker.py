"""Masks conversations: every message, every time, with findings cached per tenant."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.masking.findings import Finding, without_overlaps
from isolation.masking.output import KINDS
from isolation.masking.placeholders import Literals, Numbering, joined
from isolation.masking.policy import Action, Direction, MaskingPolicy
from isolation.masking.vault import Outgoing, RequestVault
from isolation.tenant_id import TenantId

_CACHED_TEXTS = 20_000
_CacheKey = tuple[TenantId, str, str | None, bytes]


class Analyzer(Protocol):
    """A detector that is asked without blocking the event loop."""

    @property
    def version(self) -> str:
        """Changes whenever the same text may be found to hold something else."""

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        """All findings, in any order; they may overlap."""


class Policies(Protocol):
    """Which policy is a tenant's."""

    async def of(self, ctx: TenantContext) -> MaskingPolicy:
        """The tenant's own, or the standard one."""


class StandardPolicies:
    """`Policies` where nobody has one of its own."""

    async def of(self, ctx: TenantContext) -> MaskingPolicy:
        require_tenant(ctx, "masking")
        return MaskingPolicy()


@dataclass(frozen=True, slots=True)
class MaskedTexts:
    """Texts and documents with placeholders, and the vault that restores them."""

    texts: list[str]
    documents: list[str]
    vault: RequestVault


class Masker:
    """Masks with one analyzer, by each tenant's policy.

    Clients send the whole conversation with each turn, so findings (offsets and kinds, no text) are
    cached. The key holds the tenant: otherwise the time an answer takes would tell one tenant what
    another one's customers have written.
    """

    def __init__(
        self, analyzer: Analyzer, policies: Policies, *, cached_texts: int = _CACHED_TEXTS
    ) -> None:
        self._analyzer = analyzer
        self._policies = policies
        self._cached_texts = cached_texts
        self._cache: OrderedDict[_CacheKey, list[Finding]] = OrderedDict()

    async def mask(
        self, ctx: TenantContext, texts: Sequence[str], documents: Sequence[str] = ()
    ) -> MaskedTexts:
        """All turns of one conversation, in order, and the passages that go with it.

        Raises:
            ContentBlockedError: the tenant's policy does not let something in them pass.
        """
        tenant = require_tenant(ctx, "masking").tenant_id
        policy = await self._policies.of(ctx)
        numbering, literals = Numbering(), Literals(policy.kinds)
        masked: dict[Direction, list[str]] = {}
        for direction, given in ((Direction.user, texts), (Direction.documents, documents)):
            masked[direction] = [
                _replaced(
                    text,
                    joined(
                        literals.find(text), await self._wanted(tenant, policy, direction, text)
                    ),
                    numbering,
                )
                for text in given
            ]
        vault = RequestVault(ctx, numbering.values(), _outgoing(policy, [*texts, *documents]))
        return MaskedTexts(masked[Direction.user], masked[Direction.documents], vault)

    async def learn(self, ctx: TenantContext, documents: Sequence[str]) -> None:
        """Analyse documents before they are asked for, so that no request waits for it."""
        tenant = require_tenant(ctx, "masking").tenant_id
        policy = await self._policies.of(ctx)
        for text in documents if policy.acts(Direction.documents) else ():
            await self._findings(tenant, policy.locale, text)

    def forget(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Drop what is cached of a tenant that is being deleted."""
        require_operator(operator, "the masking cache")
        for key in [key for key in self._cache if key[0] == tenant]:
            del self._cache[key]

    async def _wanted(
        self, tenant: TenantId, policy: MaskingPolicy, direction: Direction, text: str
    ) -> list[Finding]:
        if not policy.acts(direction):
            return []
        return policy.judged(direction, text, await self._findings(tenant, policy.locale, text))

    async def _findings(self, tenant: TenantId, locale: str | None, text: str) -> list[Finding]:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        key = (tenant, self._analyzer.version, locale, digest)
        known = self._cache.get(key)
        if known is None:
            known = without_overlaps(await self._analyzer.find(text, locale))
            self._cache[key] = known
            while len(self._cache) > self._cached_texts:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(key)
        return known


def _outgoing(policy: MaskingPolicy, given: Sequence[str]) -> Outgoing:
    kinds = frozenset(
        kind for kind in KINDS if policy.action(Direction.output, kind) is Action.mask
    )
    return Outgoing(given, kinds, policy.canaries)


def _replaced(text: str, findings: Sequence[Finding], numbering: Numbering) -> str:
    """`text` with a placeholder for each finding; they are in order and do not overlap."""
    out, position = [], 0
    for found in findings:
        out.append(text[position : found.start])
        out.append(numbering.placeholder(found.entity, text[found.start : found.end]))
        position = found.end
    return "".join([*out, text[position:]])
