"""Which adapter makes room for another. A pure function of what is in the engine.

Least recently used first, among those that nobody holds, with three exceptions that keep one
tenant from slowing another: an adapter has a turn of some length, a pinned one yields to pinned
ones alone, and a tenant that holds its share of the places evicts its own.

A turn ends early for an adapter that nobody has used for some times as long as its load took: the
rule for when to stop paying rent (Karlin et al., "Competitive snoopy caching", Algorithmica 3,
1988), which costs at most so many times what is best in hindsight.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Container
from dataclasses import dataclass

from isolation.tenant_id import TenantId
from serving.adapters.resident import Resident


@dataclass(frozen=True, slots=True)
class Places:
    """The engine's places, and how long an adapter keeps one while others wait, in seconds.

    stay: a turn is so many times as long as its load took, so that a place is not taken up with
    loading (1 / (1 + stay) of its time at most); `minimum_seconds` is enough, however long a load
    takes. patience: unused for so many times its load, it leaves before its turn ends.
    stale_seconds: unused for longer, it counts for nobody's share. loading: of the engine's time,
    how much may go into replacing adapters; 1: all of it.
    """

    capacity: int
    minimum_seconds: float
    stale_seconds: float = 300.0
    stay: float = 10.0
    patience: float = 2.0
    loading: float = 0.2

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
        if resident.idle and _may_replace(resident, tenant, pinned, residents, places, now)
    ]
    settled = [r for r in open_to_it if _settled_at(r, places) <= now]
    if settled:
        over = _over_share(residents, places, tenant)
        # Those of tenants above their share go first, and unpinned before pinned.
        return Choice(
            min(settled, key=lambda r: (r.pinned, r.record.tenant not in over, r.used_at))
        )
    return Choice(None, min((_settled_at(r, places) for r in open_to_it), default=None))


def choose_to_close(
    residents: Collection[Resident],
    closing: Container[Resident],
    tenant: TenantId,
    *,
    pinned: bool,
    places: Places,
    now: float,
) -> Resident | None:
    """Whose turn is over and who must take nobody new, however busy, for a load of this tenant;
    one more than those that are `closing` already."""
    over = [
        resident
        for resident in residents
        if resident.loaded_at is not None
        and not resident.ending
        and resident not in closing
        and turn_ends(resident, places) <= now
        and _may_replace(resident, tenant, pinned, residents, places, now)
    ]
    return min(over, key=lambda r: r.loaded_at or 0.0, default=None)


def expected_wait(ahead: int, residents: Collection[Resident], places: Places) -> float:
    """Seconds until a place, about, when so many other adapters wait: all places take turns."""
    loads = [r.load_seconds for r in residents if r.loaded_at is not None]
    if not loads:
        return 0.0
    return ahead // places.capacity * _turn(statistics.median(loads), places)


def _may_replace(
    resident: Resident,
    tenant: TenantId,
    pinned: bool,
    residents: Collection[Resident],
    places: Places,
    now: float,
) -> bool:
    return (pinned or not resident.pinned) and _open_to(resident, tenant, residents, places, now)


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


def turn_ends(resident: Resident, places: Places) -> float:
    """When others may have its place, however busy it is."""
    return (resident.loaded_at or 0.0) + _turn(resident.load_seconds, places)


def _turn(load_seconds: float, places: Places) -> float:
    return min(places.minimum_seconds, places.stay * load_seconds)


def _settled_at(resident: Resident, places: Places) -> float:
    """When it may leave, if nobody uses it until then."""
    unused = resident.used_at + places.patience * resident.load_seconds
    return min(turn_ends(resident, places), unused)
