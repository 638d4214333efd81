"""Readers and writers of many tenants at once: what is right alone may be wrong between two awaits.

What is drawn comes from the seed; how the requests interleave is the event loop's and the threads'.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any

from evals.leakage.attacks.all import ATTACKS
from evals.leakage.attacks.reading import answer
from evals.leakage.campaign import Tally, attempted, controlled, summary
from evals.leakage.world import World
from isolation.context import TenantContext

_READERS = 2
_CLASSES = ("same-query", "foreign-ids", "foreign-cursors", "filters", "vectors")


@dataclass(frozen=True, slots=True)
class Load:
    """Attacks in all, and how often each tenant writes meanwhile."""

    attacks: int
    writes: int


async def crowd(world: World, load: Load, seed: int) -> dict[str, Any]:
    """Every tenant reads and writes at once; each reading is an attack, judged like any other."""
    tallies = {name: Tally(ATTACKS[name]) for name in _CLASSES}
    each = -(-load.attacks // (_READERS * len(world.tenants)))
    readers = [
        _read(world, tallies, each, f"{seed}/{number}")
        for number in range(_READERS * len(world.tenants))
    ]
    writers = [_write(world, ctx, load.writes, f"{seed}/{ctx.tenant_id}") for ctx in world.tenants]
    _, written = await asyncio.gather(asyncio.gather(*readers), asyncio.gather(*writers))
    counted = {"tenants": len(world.tenants), "tasks": len(readers) + len(writers)}
    return counted | {"writes": sum(written)} | summary(list(tallies.values()))


async def _read(world: World, tallies: dict[str, Tally], attacks: int, seed: str) -> None:
    random = Random(seed)
    for number in range(attacks):
        name = random.choice(_CLASSES)
        attack, tally = ATTACKS[name], tallies[name]
        await attempted(world, attack, f"{seed}/{number}", tally, controlled(number))
        await asyncio.sleep(0)


async def _write(world: World, ctx: TenantContext, writes: int, seed: str) -> int:
    """Replace the tenant's documents, again and again, with new canaries; some are deleted first,
    and some hold what another tenant's customers ask."""
    random, mine = Random(seed), world.planted[ctx.tenant_id]
    for number in range(writes):
        place = number % len(mine)
        old = mine[place]
        stolen = random.choice(world.planted[random.choice(world.tenants).tenant_id])
        new = world.draft(
            ctx, old.id, random, topic=place, text=stolen.question, groups=old.document.groups
        )
        if number % 3 == 0:
            await answer(world.ingestor.of(ctx).delete(old.id))
        await world.ingestor.of(ctx).ingest(new.document)
        mine[place] = new
        await asyncio.sleep(0)
    return writes
