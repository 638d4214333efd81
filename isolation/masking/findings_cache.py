"""What was found in texts that were analysed already: offsets and kinds, and no text.

The key holds the tenant: otherwise the time an answer takes would tell one tenant what another
one's customers have written.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from isolation.masking.findings import Analyzer, Finding, without_overlaps
from isolation.tenant_id import TenantId

_Key = tuple[TenantId, str, str | None, bytes]


class FindingsCache:
    """An analyzer's answers, by tenant, its version, locale and the text's SHA-256; the `most`
    that were used last."""

    def __init__(self, analyzer: Analyzer, most: int) -> None:
        self.analyzer = analyzer
        self._most = most
        self._known: OrderedDict[_Key, list[Finding]] = OrderedDict()

    async def find(self, tenant: TenantId, locale: str | None, text: str) -> list[Finding]:
        """What is in the text, in order; none overlap."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        key = (tenant, self.analyzer.version, locale, digest)
        known = self._known.get(key)
        if known is None:
            known = without_overlaps(await self.analyzer.find(text, locale))
            self._known[key] = known
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known

    async def analyzed(self, locale: str | None, text: str) -> list[Finding]:
        """The same of a text that does not come again, such as a piece of an answer."""
        return await self.analyzer.find(text, locale)

    def forget(self, tenant: TenantId) -> None:
        """Drop what is known of a tenant."""
        for key in [key for key in self._known if key[0] == tenant]:
            del self._known[key]

    def __len__(self) -> int:
        return len(self._known)
