"""Attacks that read: the same query, foreign ids, foreign cursors, filters, groups, vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evals.leakage.attack import Attack, Attempt, Shown
from evals.leakage.attacks.filters import generated, malformed
from evals.leakage.world import CANARY, Planted, World
from isolation.errors import BulkheadError, CrossTenantError, RestrictedKeyError
from rag.filter_json import parse_filter
from rag.filters import AnyOf, Equals, Where
from rag.retrieval.follow_up import Question
from rag.store.point_ids import point_id
from rag.store.port import HybridQuery

_LIMITS = (1, 3, 5, 20, 100)


async def same_query(attempt: Attempt) -> Shown:
    """What the victim would ask, in its own words, down to its canary."""
    goal, random = attempt.goal(), attempt.random
    words = goal.document.text.split()
    random.shuffle(words)
    asked = (goal.question, goal.document.text, goal.canary, goal.document.title, " ".join(words))
    text, limit = random.choice(asked), random.choice(_LIMITS)
    if random.random() < 0.7:
        found = await attempt.world.retriever.of(attempt.caller).search(Question(text), limit=limit)
        return attempt.shown(found)
    # Straight at the store: with the victim's own vector, and perhaps without any words.
    (dense,) = await attempt.world.embedder.embed([goal.document.text])
    query = HybridQuery(random.choice((text, "")), dense)
    return attempt.shown(await attempt.world.store.of(attempt.caller).search(query, limit=limit))


async def foreign_ids(attempt: Attempt) -> Shown:
    """The victim's ids, as they are and in spellings that might reach its points; singly and in
    lists."""
    goal, random = attempt.goal(), attempt.random
    owner, version = goal.owner, version_of(attempt.world, goal)
    spelled = (
        f"{owner}\0{goal.id}",
        f"{owner}/{goal.id}",
        f"../{owner}/{goal.id}",
        str(point_id(owner, goal.id, version, 0)),
        goal.id.upper(),
    )
    name = goal.id if random.random() < 0.7 else random.choice(spelled)
    return attempt.shown(await _by_id(attempt, name, version))


async def _by_id(attempt: Attempt, name: str, version: str) -> object:
    world, caller = attempt.world, attempt.caller
    match attempt.random.randrange(4):
        case 0:
            return await world.store.of(caller).get(name)
        case 1:
            return await world.store.of(caller).chunks(name, version, range(8))
        case 2:
            return await answer(world.ingestor.of(caller).get(name))
        case _:
            others = [planted.id for planted in world.planted[attempt.victim.tenant_id]]
            fields = ("document_id", "id", "note")
            asked = [Equals(attempt.random.choice(fields), one) for one in others[:6]]
            canary = Equals("note", attempt.goal().canary)
            return await _filtered(attempt, AnyOf((*asked, canary)))


async def foreign_cursors(attempt: Attempt) -> Shown:
    """Listings that go on from the victim's cursors, from its points, and from anywhere."""
    world, random, goal = attempt.world, attempt.random, attempt.goal()
    point = str(point_id(goal.owner, goal.id, version_of(world, goal), 0))
    page = await world.store.of(attempt.victim).list(limit=random.randint(1, 5))
    low = f"{random.getrandbits(16):08x}-0000-0000-0000-000000000000"
    cursor = random.choice((point, page.after or point, low, "not-a-cursor"))
    listing = world.store.of(attempt.caller).list(limit=random.choice((3, 100)), after=cursor)
    return attempt.shown(await answer(listing))


async def filters(attempt: Attempt) -> Shown:
    """Nested, negated, empty and malformed filters that name the store's own fields."""
    goal = attempt.goal()
    if attempt.random.random() < 0.2:
        try:
            where = parse_filter(malformed(attempt.random, goal))
        except BulkheadError as error:
            return attempt.shown(error)
    else:
        where = generated(attempt.random, goal)
    return attempt.shown(await _filtered(attempt, where))


async def _filtered(attempt: Attempt, where: Where) -> object:
    search = attempt.world.retriever.of(attempt.caller).search
    return await search(Question(attempt.goal().question), limit=100, where=where)


async def groups(attempt: Attempt) -> Shown:
    """A key that is restricted to groups, after its own tenant's other documents."""
    world, goal, caller = attempt.world, attempt.goal(), attempt.caller
    store, documents = world.store.of(caller), world.ingestor.of(caller)
    match attempt.random.randrange(8):
        case 0:
            return await same_query(attempt)
        case 1:
            return attempt.shown(await store.get(goal.id))
        case 2:
            return attempt.shown(await store.chunks(goal.id, version_of(world, goal), range(8)))
        case 3:
            return attempt.shown(await store.list())
        case 4:
            return attempt.shown(await answer(documents.get(goal.id)))
        case 5:
            return attempt.shown(await documents.list())
        case 6:
            return await filters(attempt)
        case _:
            return await _restricted_write(attempt, goal)


async def _restricted_write(attempt: Attempt, goal: Planted) -> Shown:
    """A restricted key writes nothing: not even under an id that it does not see."""
    seen = await answer(attempt.world.ingestor.of(attempt.caller).ingest(goal.document))
    refused = isinstance(seen, RestrictedKeyError)
    return attempt.shown(seen, "" if refused else "a restricted key has written")


async def vectors(attempt: Attempt) -> Shown:
    """No vector leaves, neither by a search nor by the one reading that gives a tenant its own."""
    world, goal, store = attempt.world, attempt.goal(), attempt.world.store.of(attempt.caller)
    version = version_of(world, goal)
    read = await store.chunks(goal.id, version, range(8), vectors=True)
    foreign = [one for one in read if _hidden(attempt, one.chunk.text)]
    found = await world.retriever.of(attempt.caller).search(Question(goal.question), limit=5)
    content = (found, foreign, await store.get(goal.id), await store.list())
    broken = "a vector has left" if holds_vector([vars_of(part) for part in content]) else ""
    return attempt.shown(content, broken)


def _hidden(attempt: Attempt, text: str) -> bool:
    see = attempt.world.may_see
    return not all(see(attempt.attacker, one.lower()) for one in CANARY.findall(text))


def holds_vector(value: Any) -> bool:
    """Whether four floats or more stand in a row anywhere in it."""
    if isinstance(value, dict):
        return any(map(holds_vector, value.values()))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        in_a_row = len(value) >= 4 and all(isinstance(number, float) for number in value)
        return in_a_row or any(map(holds_vector, value))
    return False


def vars_of(value: Any) -> Any:
    """A dataclass as a dictionary, and lists of them, all the way down."""
    if isinstance(value, list | tuple):
        return [vars_of(part) for part in value]
    fields = getattr(value, "__dataclass_fields__", None)
    return value if fields is None else {name: vars_of(getattr(value, name)) for name in fields}


def version_of(world: World, goal: Planted) -> str:
    """The version under which it was planted."""
    return world.versions.get((goal.owner, goal.id), "v1")


async def answer(asked: Any) -> Any:
    """What a request gives, or its refusal. What the last line of defence stops is no refusal: the
    first one did not hold.

    Raises:
        CrossTenantError: of the request.
    """
    try:
        return await asked
    except CrossTenantError:
        raise
    except BulkheadError as error:
        return error


READING = (
    Attack("same-query", same_query),
    Attack("foreign-ids", foreign_ids),
    Attack("foreign-cursors", foreign_cursors),
    Attack("filters", filters),
    Attack("groups", groups, parties=World.one),
    Attack("vectors", vectors),
)
