"""Masks conversations: every message, every time, with findings cached per tenant."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from presidio_anonymizer import AnonymizerEngine
from presidio_anonymizer.entities import (
    OperatorConfig,
    RecognizerResult,
)

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.masking.entities import ENTITIES
from isolation.masking.findings import Detector, Finding, without_overlaps
from isolation.masking.placeholders import Literals, Numbering, joined
from isolation.masking.vault import RequestVault
from isolation.tenant_id import TenantId

_CACHED_TEXTS = 20_000
_CacheKey = tuple[TenantId, bytes]


@dataclass(frozen=True, slots=True)
class MaskedTexts:
    """Texts with placeholders, and the vault that restores them."""

    texts: list[str]
    vault: RequestVault


class Masker:
    """Masks with one detector on one thread.

    Clients send the whole conversation with each turn, so findings (offsets and kinds, no text) are
    cached. The key holds the tenant: otherwise the time an answer takes would tell one tenant what
    another one's customers have written.
    """

    def __init__(self, detector: Detector, *, cached_texts: int = _CACHED_TEXTS) -> None:
        self._detector = detector
        self._cached_texts = cached_texts
        self._cache: OrderedDict[_CacheKey, list[Finding]] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="masking")
        self._literals = Literals(ENTITIES)
        self._anonymizer = AnonymizerEngine()  # type: ignore[no-untyped-call]

    async def mask(self, ctx: TenantContext, texts: Sequence[str]) -> MaskedTexts:
        """All turns of one conversation, in order."""
        tenant = require_tenant(ctx, "masking").tenant_id
        numbering = Numbering()
        masked = [
            self._replaced(text, await self._findings(tenant, text), numbering) for text in texts
        ]
        return MaskedTexts(masked, RequestVault(ctx, numbering.values()))

    def forget(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Drop what is cached of a tenant that is being deleted."""
        require_operator(operator, "the masking cache")
        for key in [key for key in self._cache if key[0] == tenant]:
            del self._cache[key]

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    async def _findings(self, tenant: TenantId, text: str) -> list[Finding]:
        key = (tenant, hashlib.sha256(text.encode()).digest())
        known = self._cache.get(key)
        if known is None:
            run = asyncio.get_running_loop().run_in_executor
            known = await run(self._thread, self._found, text)
            self._cache[key] = known
            while len(self._cache) > self._cached_texts:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(key)
        return known

    def _found(self, text: str) -> list[Finding]:
        findings = without_overlaps(self._detector.find(text))
        return joined(self._literals.find(text), findings)

    def _replaced(self, text: str, findings: Sequence[Finding], numbering: Numbering) -> str:
        if not findings:
            return text
        # Numbered from the left here; the anonymizer replaces from the right.
        for finding in findings:
            numbering.placeholder(finding.entity, text[finding.start : finding.end])
        result = self._anonymizer.anonymize(
            text,
            [RecognizerResult(f.entity, f.start, f.end, f.score) for f in findings],
            {f.entity: _operator(f.entity, numbering) for f in findings},
            merge_entities_with_spaces=False,
        )
        masked: str = result.text
        return masked


def _operator(entity: str, numbering: Numbering) -> OperatorConfig:
    return OperatorConfig("custom", {"lambda": lambda value: numbering.placeholder(entity, value)})
