"""Attacks that write: metadata that poses, squatted ids, poison, and term statistics."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from evals.leakage.attack import DISCLOSURE, POISONING, Attack, Attempt, Shown
from evals.leakage.attacks.reading import answer
from evals.leakage.world import Planted, World
from isolation.context import TenantContext
from rag.documents import Chunk, Document, DocumentVersion, EmbeddedChunk, Passage
from rag.errors import DocumentNotFoundError
from rag.filters import Equals
from rag.retrieval.follow_up import Question
from rag.store.port import HybridQuery


async def posing_metadata(attempt: Attempt) -> Shown:
    """The attacker's document says, in its metadata, that it is the victim's."""
    world, random, victim = attempt.world, attempt.random, attempt.victim
    posing = {
        "tenant_id": str(victim.tenant_id),
        "state": random.choice(("published", "staged")),
        "document_id": attempt.goal().id,
        "access": "*",
        "version": "v1",
    }
    kept = dict(random.sample(sorted(posing.items()), random.randint(1, 5))) | {
        "tenant_id": posing["tenant_id"]
    }
    planted = world.draft(attempt.attacker, f"posing-{random.getrandbits(40):x}", random)
    asked = planted.question
    await write(world, attempt.caller, planted.document, metadata=kept)
    seen = await world.retriever.of(victim).search(Question(asked), limit=100)
    where = Equals("tenant_id", str(victim.tenant_id))
    mine = await world.retriever.of(attempt.caller).search(Question(asked), limit=100, where=where)
    listed = await world.store.of(victim).list()
    await clean_up(world, planted.id, attempt.caller, victim)
    foreign = [one for one in mine if one.tenant_id not in (attempt.caller.tenant_id,)]
    broken = "a posing filter finds another tenant's document" if foreign else ""
    return Shown(victim, (seen, listed), broken)


async def id_squatting(attempt: Attempt) -> Shown:
    """Writes and deletes under the id of a document of the victim, which must stay as it is."""
    world, random, victim = attempt.world, attempt.random, attempt.victim
    document_id = f"squatted-{random.getrandbits(40):x}"
    target = world.draft(victim, document_id, random)
    if by_ingestor := random.random() < 0.4:
        await world.ingestor.of(victim).ingest(target.document)
    else:
        await write(world, victim, target.document)
    before = await _state(world, victim, document_id)
    seen = await _squat(attempt, document_id, by_ingestor)
    after = await _state(world, victim, document_id)
    await clean_up(world, document_id, attempt.caller, victim)
    changed = "" if before == after else "the victim's document has changed"
    return Shown(victim, after if changed else (after, type(seen)), changed)


async def _squat(attempt: Attempt, document_id: str, by_ingestor: bool) -> object:
    world, random, caller = attempt.world, attempt.random, attempt.caller
    mine = world.draft(attempt.attacker, document_id, random)
    store, documents = world.store.of(caller), world.ingestor.of(caller)
    if by_ingestor and random.random() < 0.6:
        if random.random() < 0.5:
            return await answer(documents.ingest(mine.document))
        return await answer(documents.delete(document_id))
    match random.randrange(3):
        case 0:
            await write(world, caller, mine.document)
        case 1:
            await store.publish(document_id, random.choice(("v2", "")))
        case _:
            await store.delete(document_id)
    return None


async def _state(world: World, ctx: TenantContext, document_id: str) -> object:
    """All that there is of one document, its vectors included, and how much there is beside it."""
    store = world.store.of(ctx)
    chunks = await store.get(document_id)
    version = chunks[0].version if chunks else "v1"
    read = await store.chunks(document_id, version, range(8), vectors=True)
    entry = await answer(world.ingestor.of(ctx).get(document_id))
    known = entry if not isinstance(entry, DocumentNotFoundError) else "unknown"
    return chunks, read, await store.count(), known


async def poisoning(attempt: Attempt) -> Shown:
    """The attacker plants texts that match a question of the victim's better than its own do
    (PoisonedRAG, arXiv 2402.07867): the victim's results are the same with and without them."""
    world, random, victim = attempt.world, attempt.random, attempt.victim
    goal = attempt.goal()
    limit = random.choice((1, 5, 20))
    before = await _results(world, victim, goal, limit)
    poison = world.draft(
        attempt.attacker, f"poison-{random.getrandbits(40):x}", random, text=goal.question
    )
    texts = [
        f"{goal.question} {goal.document.text.split('.')[0]}. {number} {poison.canary}"
        for number in range(random.choice((1, 8, 40)))
    ]
    if random.random() < 0.2:
        await answer(world.ingestor.of(attempt.caller).ingest(poison.document))
    else:
        await write(world, attempt.caller, poison.document, texts)
    after = await _results(world, victim, goal, limit)
    await clean_up(world, poison.id, attempt.caller)
    broken = "" if before == after else "the victim's results have changed"
    return Shown(victim, after, broken)


async def _results(world: World, ctx: TenantContext, goal: Planted, limit: int) -> object:
    found = await world.retriever.of(ctx).search(Question(goal.question), limit=limit)
    return ranking(found), await world.store.of(ctx).count()


def ranking(found: Sequence[Passage]) -> object:
    """What two answers to one question have in common where nothing has changed: the engine breaks
    ties of the fused score by chance, in their order and at the end of the list."""
    scores = [one.score for one in found]
    above = {(one.score, one.document_id, one.text) for one in found if one.score > scores[-1]}
    return scores, sorted(above)


async def term_statistics(attempt: Attempt) -> Shown:
    """A word that is rare among the victim's documents stays so, whatever others plant."""
    world, random, victim = attempt.world, attempt.random, attempt.victim
    rare, common = (f"{kind}{random.getrandbits(40):x}" for kind in ("rare", "common"))
    ranked = f"ranked-{random.getrandbits(40):x}"
    query = HybridQuery(f"{rare} {common}", (await world.embedder.embed([rare]))[0])
    chunks = [rare, f"{common} {common}", common]
    await write(world, victim, Document(ranked, "", " ".join(chunks)), chunks)
    before = ranking(await world.store.of(victim).search(query, limit=5))
    planted = f"statistics-{random.getrandbits(40):x}"
    texts = [f"{rare} {rare} {rare}"] * random.choice((8, 20))
    await write(world, attempt.caller, Document(planted, "", rare), texts)
    after = ranking(await world.store.of(victim).search(query, limit=5))
    await clean_up(world, planted, attempt.caller)
    await clean_up(world, ranked, victim)
    return Shown(victim, after, "" if before == after else "a score or a rank has moved")


async def write(
    world: World,
    ctx: TenantContext,
    document: Document,
    texts: Sequence[str] = (),
    metadata: dict[str, str] | None = None,
) -> None:
    """Into the store alone, as version `v1`; `texts` in place of the document's own."""
    texts = list(texts) or [document.text]
    dense = await world.embedder.embed(texts)
    chunks = [EmbeddedChunk(Chunk(n, text), dense[n]) for n, text in enumerate(texts)]
    version = DocumentVersion(
        document.id, "v1", document.title, metadata or document.metadata, document.groups
    )
    await world.store.of(ctx).upsert(version, chunks)


async def clean_up(world: World, document_id: str, *owners: TenantContext) -> None:
    """As if it had never been there."""
    for ctx in owners:
        if ctx.access.unrestricted:
            with suppress(DocumentNotFoundError):
                await world.ingestor.of(ctx).delete(document_id)
        await world.store.of(ctx).delete(document_id)


WRITING = (
    Attack("posing-metadata", posing_metadata, POISONING),
    Attack("id-squatting", id_squatting, ("OWASP LLM08", "MITRE ATLAS AML.T0070")),
    Attack("poisoning", poisoning, POISONING),
    Attack("term-statistics", term_statistics, DISCLOSURE),
)
