"""Which adapter makes room for another. A pure function of what is in the engine.

Least recently used first, among those that nobody holds, with three exceptions that keep one
tenant from slowing another: an adapter stays for a minimum time, a pinned one yields to pinned ones
alone, and a tenant that holds its share of the places evicts its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from isolation.tenant_id import TenantId
from serving.adapters.resident import Resident


@dataclass(frozen=True, slots=True)
class Places:
    """The engine's places, and how long an adapter keeps one, in seconds.

    stay: at least so many times as long as its load took, so that a place is not taken up with
    loading (1 / (1 + stay) of its time at most); `minimum_seconds` is enough, however long a load
    takes. stale_seconds: unused for longer, it counts for nobody's share.
    """

    capacity: int
    minimum_seconds: float
    stale_seconds: float = 300.0
    stay: float = 10.0

    @property
    def pinned(self) -> int:
        """How many may be pinned: the rest moves."""
        return self.capacity // 2


@dataclass(frozen=True, slots=True)
class Choice:
    """The one to evict; or None, and when to ask again (None: when something is given back)."""

    victim: Resident | None
    again_at: float | None = None


def choose_victim(
    residents: Collection[Resident], tenant: TenantId, *, pinned: bool, places: Places, now: float
) -> Choice:
    """Whom a load of this tenant may replace, all places being taken."""
    open_to_it = [
        resident
        for resident in residents
        if resident.idle
        and (pinned or not resident.pinned)
        and _open_to(resident, tenant, residents, places, now)
    ]
    settled = [r for r in open_to_it if _settled_at(r, places) <= now]
    if settled:
        over = _over_share(residents, places, tenant)
        # Those of tenants above their share go first, and unpinned before pinned.
        return Choice(
            min(settled, key=lambda r: (r.pinned, r.record.tenant not in over, r.used_at))
        )
    return Choice(None, min((_settled_at(r, places) for r in open_to_it), default=None))


def _open_to(
    resident: Resident,
    tenant: TenantId,
    residents: Collection[Resident],
    places: Places,
    now: float,
) -> bool:
    if resident.record.tenant == tenant or now - resident.used_at > places.stale_seconds:
        return True
    held = Counter(r.record.tenant for r in residents)
    return held[tenant] < _share(residents, places, tenant)


def _over_share(residents: Collection[Resident], places: Places, tenant: TenantId) -> set[TenantId]:
    share = _share(residents, places, tenant)
    held = Counter(r.record.tenant for r in residents)
    return {owner for owner, count in held.items() if count > share}


def _share(residents: Collection[Resident], places: Places, tenant: TenantId) -> int:
    tenants = {resident.record.tenant for resident in residents} | {tenant}
    return max(1, places.capacity // len(tenants))


def _settled_at(resident: Resident, places: Places) -> float:
    enough = min(places.minimum_seconds, places.stay * resident.load_seconds)
    return (resident.loaded_at or 0.0) + enough
