"""What was found in texts that were analysed already: offsets and kinds, and no text.

The key holds the tenant: otherwise the time an answer takes would tell one tenant what another
one's customers have written.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from isolation.context import TenantContext, require_tenant
from isolation.fair_slots import FairSlots
from isolation.masking.findings import Analyzer, Finding, without_overlaps
from isolation.masking.windows import windows
from isolation.tenant_id import TenantId

_Key = tuple[TenantId, str, str | None, bytes]


class FindingsCache:
    """An analyzer's answers, by tenant, its version, locale and the text's SHA-256; the `most`
    that were used last.

    slots: before the analyzer, which all tenants share. A long text has a turn for each window of
    it, and a tenant's turns cost it their characters: no tenant's texts, however long and many,
    keep another's waiting for more than what is being analysed.
    """

    def __init__(self, analyzer: Analyzer, most: int, slots: FairSlots) -> None:
        self.analyzer = analyzer
        self._most = most
        self._slots = slots
        self._known: OrderedDict[_Key, list[Finding]] = OrderedDict()

    async def find(self, ctx: TenantContext, locale: str | None, text: str) -> list[Finding]:
        """What is in the text, in order; none overlap."""
        tenant = require_tenant(ctx, "the findings").tenant_id
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        key = (tenant, self.analyzer.version, locale, digest)
        known = self._known.get(key)
        if known is None:
            known = without_overlaps(await self.analyzed(ctx, locale, text))
            self._known[key] = known
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known

    async def analyzed(self, ctx: TenantContext, locale: str | None, text: str) -> list[Finding]:
        """All that is in a text, anew: for one that does not come again, such as a piece of an
        answer."""
        found: list[Finding] = []
        for begin, window in windows(text):
            async with self._slots.turn(ctx, len(window)):
                in_window = await self.analyzer.find(window, locale)
            found += [each.moved(begin) for each in in_window]
        return found

    def forget(self, tenant: TenantId) -> None:
        """Drop what is known of a tenant."""
        for key in [key for key in self._known if key[0] == tenant]:
            del self._known[key]

    def __len__(self) -> int:
        return len(self._known)
