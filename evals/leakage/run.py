"""The whole run: the parts, the routes, the crowd, the ungated baseline and the leaky twins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from evals.leakage.ambient import AmbientTenant
from evals.leakage.attack import Attack
from evals.leakage.attacks.all import ATTACKS, shares
from evals.leakage.attacks.over_http import OverHttp
from evals.leakage.campaign import campaigns, summary
from evals.leakage.crowd import Load, crowd
from evals.leakage.routes import routes
from evals.leakage.twins import TWINS, Twin
from evals.leakage.world import World, copied, opened

Progress = Callable[[str], object]
_AMBIENT = "ambient-tenant"
_CROWD_DOCUMENTS = 4
METHOD = {
    "ctlr": "cross-tenant leakage rate: of the attacks on another tenant, those that showed or "
    "changed something of it",
    "avr": "authorization violation rate: of all attacks, those that showed or changed what the "
    "credential may not see or change, another tenant's or a hidden group's",
    "upper_95": "Clopper and Pearson, one-sided",
    "judge": "canaries searched in all that was shown; equality of what must not have changed; the "
    "second line of defence counts as a leak where it had to stop something",
    "control": "the same attack with the victim's own credential, for the same judge: it must see",
    "store": "Qdrant Edge, SQLite, Ingestor and Retriever; texts are embedded by hashed words of "
    "64 numbers, for MiniLM's time would dominate",
    "concurrent": "the same parts and embedder",
    "routes": "the gateway's application in this process (ASGI), real keys, MiniLM; no engine, so "
    "no chats",
    "not_measured": "timing as a signal",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes. `attacks`: on the parts. `twin_attacks`: of each class, on each twin."""

    attacks: int = 12_600
    route_attacks: int = 1_500
    crowd_attacks: int = 10_000
    crowd_tenants: int = 50
    crowd_writes: int = 20
    ungated_attacks: int = 1_000
    twin_attacks: int = 20
    all_classes: bool = True
    tenants: int = 4
    documents: int = 16
    seed: int = 8


class Status(IntEnum):
    """The command's exit status."""

    held = 0
    leak = 1
    uncontrolled = 2


async def measure(plan: Plan, progress: Progress = lambda _: None) -> dict[str, Any]:
    """Everything, in folders that are gone afterwards."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        store, ungated, twins = await _on_the_parts(plan, root, progress)
        result = {
            "method": METHOD,
            "seed": plan.seed,
            "tenants": plan.tenants,
            "store": store,
            "routes": await _on_the_routes(plan, root / "routes", progress),
            "concurrent": await _crowd(plan, root / "crowd", progress, plan.crowd_attacks),
            "ungated": ungated,
            "twins": twins | {_AMBIENT: await _ambient(plan, root / "ambient", progress)},
        }
    return {"status": status(result).name, **result}


def status(result: dict[str, Any]) -> Status:
    """A leak weighs more than a control that failed; a twin that is not caught is one."""
    parts = [result[name] for name in ("store", "routes", "concurrent")]
    if not all(part["held"] for part in parts):
        return Status.leak
    caught = all(twin["caught"] for twin in result["twins"].values())
    seen = result["ungated"]["ctlr"]["events"] > 0
    controlled = all(part["controlled"] for part in parts)
    return Status.held if caught and seen and controlled else Status.uncontrolled


async def _on_the_parts(
    plan: Plan, root: Path, progress: Progress
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    progress("planting")
    source, harmed = root / "planted", root / "twins"
    async with opened(source, plan.tenants) as known:
        await known.plant(plan.documents, Random(plan.seed))
    async with copied(known, source, root / "store") as world:
        attacks = shares(plan.attacks, 12)
        store = summary(await campaigns(world, attacks, plan.seed, progress))
    twins = {}
    async with copied(known, source, root / "harmless") as world:
        progress("ungated")
        ungated = await _ungated(plan, world)
        for twin in TWINS:
            progress(f"twin: {twin.name}")
            if not twin.scars:
                twins[twin.name] = await _attacked(plan, twin, world)
                continue
            async with copied(known, source, harmed / twin.name, twin.wrap) as own:
                twins[twin.name] = await _attacked(plan, twin, own)
    return store, ungated, twins


async def _ungated(plan: Plan, world: World) -> dict[str, Any]:
    """Retrieval without the predicate, as in arXiv 2605.05287: same query alone."""
    ungated = next(twin for twin in TWINS if twin.name == "predicate-without-tenant")
    with ungated.broken():
        attacks = {ATTACKS["same-query"]: plan.ungated_attacks}
        return summary(await campaigns(world, attacks, plan.seed))


async def _attacked(plan: Plan, twin: Twin, world: World) -> dict[str, Any]:
    """By the class that is made for it; and by all others, to see which of them notice."""
    made_for = ATTACKS[twin.caught_by]
    others = _readers_of(twin) if plan.all_classes else []
    attacks = {made_for: plan.twin_attacks} | dict.fromkeys(others, plan.twin_attacks)
    with twin.broken():
        tallies = await campaigns(world, attacks, plan.seed)
    noticed = {one.attack.name: one.noticed for one in tallies if not one.held}
    return {
        "made_for": twin.caught_by,
        "attacks_of_each_class": plan.twin_attacks,
        "classes": [one.attack.name for one in tallies],
        "noticed": noticed,
        "caught": twin.caught_by in noticed,
    }


def _readers_of(twin: Twin) -> list[Attack]:
    """What writes would leave its traces in a world that other twins share."""
    reading = ("same-query", "foreign-ids", "foreign-cursors", "filters", "groups", "vectors")
    return [ATTACKS[name] for name in reading if name != twin.caught_by]


async def _on_the_routes(plan: Plan, folder: Path, progress: Progress) -> dict[str, Any]:
    progress("routes: planting")
    async with routes(
        folder, tenants=plan.tenants, per_tenant=plan.documents, seed=plan.seed
    ) as gateway:
        attacks = OverHttp(gateway).attacks(plan.route_attacks, 12)
        return summary(await campaigns(gateway.world, attacks, plan.seed, progress))


async def _crowd(plan: Plan, folder: Path, progress: Progress, attacks: int) -> dict[str, Any]:
    progress("crowd")
    async with opened(folder, plan.crowd_tenants) as world:
        await world.plant(_CROWD_DOCUMENTS, Random(plan.seed))
        return await crowd(world, Load(attacks, plan.crowd_writes), plan.seed)


async def _ambient(plan: Plan, folder: Path, progress: Progress) -> dict[str, Any]:
    """One after the other it is right, so that only the crowd can see it."""
    progress(f"twin: {_AMBIENT}")
    async with opened(folder, 4, AmbientTenant) as world:
        await world.plant(_CROWD_DOCUMENTS, Random(plan.seed))
        alone = await campaigns(world, {ATTACKS["same-query"]: plan.twin_attacks}, plan.seed)
        seen = await crowd(world, Load(10 * plan.twin_attacks, 1), plan.seed)
    return {
        "made_for": "concurrent",
        "held_alone": all(one.held for one in alone),
        "attacks": seen["attacks"],
        "violations": seen["avr"]["events"],
        "caught": not seen["held"],
    }
