"""Three tenants with three versions each, and room for four in the engine: who got which?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from evals.adapter_files import random_files
from evals.adapter_platform import Merchant, Platform, Room, opened
from evals.adapters.judge import answers, hits
from evals.adapters.references import NAME, References, references
from evals.adapters.tap import Tap
from evals.adapters.traffic import Load, sent
from evals.adapters.twins import CACHE_TWINS, TWINS
from rag.prompt import SYSTEM_TEXT
from serving.engine.tokens import TokenizerCounter

METHOD = (
    "Whole gateway in one process, real SGLang. References: each version asked alone, greedily, on "
    "questions where no token of any version's answer can be turned by batching. Then all clients "
    "at once, by version and by bare name while rollouts shift it; more versions than places, so "
    "that they are reloaded throughout. Cached tokens are the engine's, seen at the client."
)
_TENANTS = ("fjellvik", "voltbay", "marisco")
_VERSIONS = 3
_ROOM = Room(capacity=4, batch=2)
# Turn markers of the template, which follow the system text in every prompt.
_MARKERS = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """How much. draws: at a low temperature, of each answer."""

    requests: int = 1_000
    questions: int = 6
    draws: int = 8
    twin_requests: int = 60
    seed: int = 5


class Status(IntEnum):
    """Of a run; the command's exit status."""

    held = 0
    leak = 1
    uncontrolled = 2


async def measure(
    model: Path, plan: Plan, progress: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """The counts, in a folder that is gone afterwards."""
    with TemporaryDirectory() as folder:
        progress("starting")
        async with opened(Path(folder), model, _ROOM, _TENANTS) as platform:
            await _uploaded(platform)
            result = await _measured(platform, model, plan, progress)
    return {"status": status(result).name, "method": METHOD, "seed": plan.seed, **result}


def status(result: dict[str, Any]) -> Status:
    """A wrong answer or an unexplained hit is a leak. A twin that is not caught, or a control that
    does not work, says that nothing was seen."""
    cache, said = result["cache"], result["answers"]
    mixed = said["wrong"]["events"] or said["conversations"]["of_two_versions"]
    if mixed or cache["unexplained"]["events"]:
        return Status.leak
    own = cache["own_repeated"]
    seen = own["hit"] > 0.5 * own["of"] and all(cache[k]["trials"] for k in _NEEDED)
    caught = all(twin["caught"] for twin in result["twins"].values())
    return Status.held if caught and seen and cache["reloads"] else Status.uncontrolled


_NEEDED = ("foreign", "after_reload")


async def _uploaded(platform: Platform) -> None:
    for number, merchant in enumerate(platform.merchants):
        for version in range(_VERSIONS):
            files = random_files(platform.base, seed=number * _VERSIONS + version)
            await merchant.upload(NAME, files)


async def _measured(
    platform: Platform, model: Path, plan: Plan, progress: Callable[[str], object]
) -> dict[str, Any]:
    tap, merchants = Tap(), platform.merchants
    system = [{"role": "system", "content": SYSTEM_TEXT}]
    beginning = TokenizerCounter(model).count_messages(system) + _MARKERS
    with tap.attached():
        known = await references(
            merchants,
            _VERSIONS,
            tap,
            wanted=plan.questions,
            draws=plan.draws,
            progress=progress,
        )
        load = Load(plan.requests, _VERSIONS)
        traffic = await sent(
            merchants,
            known.questions,
            load,
            Random(plan.seed),
            lambda done: progress(f"requests: {done} of {plan.requests}"),
        )
    return {
        "tenants": len(merchants),
        "versions_of_each": _VERSIONS,
        "places": _ROOM.capacity,
        "adapters_in_one_batch": _ROOM.batch,
        "requests": len(traffic.asked),
        "shifts": len(traffic.shifts),
        "questions": {"used": len(known.questions), "tried": known.tried},
        "answers": answers(traffic, known),
        "cache": hits(tap, beginning),
        "twins": await _twins(platform, known, plan, progress)
        | await _cache_twins(merchants, known.questions[0], beginning, progress),
    }


async def _twins(
    platform: Platform, known: References, plan: Plan, progress: Callable[[str], object]
) -> dict[str, Any]:
    """The same platform, broken."""
    found = {}
    for name, broken in TWINS.items():
        progress(f"twin: {name}")
        await _rollouts_over(platform)
        with broken():
            load = Load(plan.twin_requests, _VERSIONS, shifts=1)
            traffic = await sent(
                platform.merchants,
                known.questions,
                load,
                Random(plan.seed),
                lambda _: None,
            )
        judged = answers(traffic, known)
        kinds = judged["wrong_by_kind"]
        found[name] = {
            "wrong": judged["wrong"],
            "wrong_by_kind": kinds,
            # A refusal mixes nothing up.
            "caught": any(count for kind, count in kinds.items() if kind != "refused"),
        }
    return found


async def _cache_twins(
    merchants: Sequence[Merchant],
    question: str,
    beginning: int,
    progress: Callable[[str], object],
) -> dict[str, Any]:
    """The same platform, with prefixes that it should not have: seen across tenants, and by a
    version that was out of the engine meanwhile."""
    found = {}
    for name, broken in CACHE_TWINS.items():
        progress(f"twin: {name}")
        tap = Tap()
        with broken(), tap.attached():
            await _in_turn(merchants, question)
        judged = hits(tap, beginning)
        seen = {kind: judged[kind] for kind in _NEEDED}
        found[name] = seen | {"caught": all(one["events"] for one in seen.values())}
    return found


async def _in_turn(merchants: Sequence[Merchant], question: str) -> None:
    """Every version twice, and all the others between: there is no place for it to stay in."""
    for _ in range(2):
        for merchant in merchants:
            for version in range(1, _VERSIONS + 1):
                await merchant.ask(f"{NAME}@{version}", question, max_tokens=1)


async def _rollouts_over(platform: Platform) -> None:
    for merchant in platform.merchants:
        await merchant.call("DELETE", f"/v1/adapters/{NAME}/rollouts")
