"""On which shard of a server a tenant's points are.

Shared: one shard for everybody. Tiered: small tenants share a shard, large ones have one of their
own, and each request names both, so that the server decides (Qdrant's "tiered multitenancy",
https://qdrant.tech/documentation/manage-data/multitenancy/).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qdrant_client import models

from isolation.tenant_id import TenantId

# No tenant is called so: neither has a colon.
SMALL_TENANTS = "shared:small"
_OWN = "tenant:"
Placement = Literal["shared", "tiered"]


def own_shard(tenant: TenantId) -> str:
    """The key of the tenant's own shard, whether there is one or not."""
    return f"{_OWN}{tenant}"


def owner_of(key: object) -> TenantId | None:
    """Whose shard it is; None for the shared one."""
    if isinstance(key, str) and key.startswith(_OWN):
        return TenantId(key.removeprefix(_OWN))
    return None


@dataclass(frozen=True, slots=True)
class Routing:
    """Which shards a request goes to."""

    placement: Placement

    def of(self, tenant: TenantId) -> models.ShardKeyWithFallback | None:
        """The tenant's own shard if it has one, else the shared one. None: there is but one."""
        if self.placement == "shared":
            return None
        return models.ShardKeyWithFallback(target=own_shard(tenant), fallback=SMALL_TENANTS)
