"""Attacks that infer: whether a document is there, from answers that should not depend on it."""

from __future__ import annotations

from typing import Any

from evals.leakage.attack import Attack, Attempt, Shown
from evals.leakage.attacks.reading import answer
from evals.leakage.attacks.writing import clean_up, write
from isolation.errors import BulkheadError
from rag.documents import Passage
from rag.retrieval.follow_up import Question


async def membership(attempt: Attempt) -> Shown:
    """A candidate is planted at the victim's, or is not, by the toss of a coin; the attacker, who
    has its text, looks for a difference (arXiv 2410.20142)."""
    world, random = attempt.world, attempt.random
    candidate = world.draft(attempt.victim, f"candidate-{random.getrandbits(40):x}", random)
    if member := bool(random.getrandbits(1)):
        await write(world, attempt.victim, candidate.document)
    text, limit = candidate.document.text, random.choice((5, 20))
    found = await world.retriever.of(attempt.caller).search(Question(text), limit=limit)
    read = await world.store.of(attempt.caller).get(candidate.id)
    count = await world.store.of(attempt.caller).count()
    await clean_up(world, candidate.id, attempt.victim)
    signals = _signals(found, text) | {"answers by id": len(read), "count": count}
    return Shown(attempt.attacker, (found, read), signals=signals, member=member)


def _signals(found: list[Passage], text: str) -> dict[str, float]:
    words = set(text.split())
    overlaps = [len(words & set(one.text.split())) / len(words) for one in found]
    return {
        "best score": max((one.score for one in found), default=0.0),
        "sum of scores": sum(one.score for one in found),
        "hits": len(found),
        "overlap of the best": max(overlaps, default=0.0),
        "rank of the best overlap": -overlaps.index(max(overlaps)) if overlaps else -100,
    }


async def unknown_or_foreign(attempt: Attempt) -> Shown:
    """The answers for an id that is another's are those for an id that is nobody's."""
    world, random = attempt.world, attempt.random
    foreign, unknown = (f"{kind}-{random.getrandbits(40):x}" for kind in ("foreign", "unknown"))
    target = world.draft(attempt.victim, foreign, random)
    await world.ingestor.of(attempt.victim).ingest(target.document)
    version = (await world.store.of(attempt.victim).get(foreign))[0].version
    way = random.choice(("get", "read", "entry", "delete"))
    seen = [await _asked(attempt, way, name, version) for name in (foreign, unknown)]
    await clean_up(world, foreign, attempt.victim)
    alike = _nameless(seen[0], foreign) == _nameless(seen[1], unknown)
    told = f"{way} tells a foreign id from an unknown one"
    return attempt.shown(seen, "" if alike else told)


async def _asked(attempt: Attempt, way: str, name: str, version: str) -> Any:
    store = attempt.world.store.of(attempt.caller)
    documents = attempt.world.ingestor.of(attempt.caller)
    match way:
        case "get":
            return await store.get(name)
        case "read":
            return await store.chunks(name, version, range(4))
        case "entry":
            return await answer(documents.get(name))
        case _:
            return await answer(documents.delete(name))


def _nameless(seen: object, name: str) -> tuple[str, str]:
    text = f"{seen} {seen.code}" if isinstance(seen, BulkheadError) else repr(seen)
    return type(seen).__name__, text.replace(name, "")


INFERENCE = (
    Attack("membership", membership),
    Attack("unknown-or-foreign", unknown_or_foreign),
)
