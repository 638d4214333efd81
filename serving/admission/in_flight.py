"""How many requests of a tenant are in this gateway at once, whatever they ask for.

A request that waits costs memory, a socket, and for an upload a file; the tier's concurrency counts
chats alone, and over all gateways (`concurrency`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from isolation.context import TenantContext, require_tenant
from isolation.tenant_id import TenantId
from serving.errors import ConcurrencyLimitError

# Searches, uploads and lists beside as many chats as the tier allows.
_FOR_EACH_CHAT = 4


class InFlight:
    """Of all tenants, each counted for itself. One event loop only."""

    def __init__(self) -> None:
        self._inside: Counter[TenantId] = Counter()

    def enter(self, ctx: TenantContext) -> Callable[[], None]:
        """Count a request of the tenant in; call what is returned once, when it is over.

        Raises:
            ConcurrencyLimitError: four times as many are inside as the tier allows chats.
        """
        tenant = require_tenant(ctx, "the gateway").tenant_id
        if self._inside[tenant] >= _FOR_EACH_CHAT * ctx.tier.max_concurrency:
            raise ConcurrencyLimitError
        self._inside[tenant] += 1
        return lambda: self._leave(tenant)

    def _leave(self, tenant: TenantId) -> None:
        self._inside[tenant] -= 1
        if not self._inside[tenant]:
            del self._inside[tenant]
