"""The ciphers of the tenants' texts: each from its tenant's key, remembered for a minute.

A search opens ten texts, and a look-up in the database for each search would cost as much as the
search. When a tenant is deleted here, its cipher is forgotten at once; another gateway may hold it
for the minute, over points that are gone.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from isolation.context import OperatorContext, TenantContext, require_operator, require_tenant
from isolation.sealing import TenantCipher
from isolation.tenant_id import TenantId
from serving.control.tenant_keys import TenantKeys

TEXTS, VAULTS, CONVERSATIONS = "texts", "vaults", "conversations"
_SECONDS, _REMEMBERED = 60.0, 10_000


class TextKeys:
    """All tenants' ciphers for one purpose."""

    def __init__(self, keys: TenantKeys, purpose: str = TEXTS) -> None:
        self._keys = keys
        self._purpose = purpose
        self._known: OrderedDict[TenantId, tuple[float, TenantCipher]] = OrderedDict()

    async def cipher(self, ctx: TenantContext) -> TenantCipher:
        """The tenant's own; its key is made at the first use.

        Raises:
            TenantSuspendedError: the tenant is deleted, and its key with it.
            KeyNotOpenedError: the master key is not the one that wrapped it.
        """
        tenant = require_tenant(ctx, "the texts' keys").tenant_id
        until, known = self._known.get(tenant, (0.0, None))
        if known is None or time.monotonic() > until:
            known = TenantCipher(tenant, await self._keys.of(ctx).derived(self._purpose))
            self._known[tenant] = (time.monotonic() + _SECONDS, known)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return known

    def forget(self, operator: OperatorContext, tenant: TenantId) -> None:
        """Drop it from memory."""
        require_operator(operator, "the texts' keys")
        self._known.pop(tenant, None)
