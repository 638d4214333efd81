"""`bulkhead bench retrieval`: many tenants in one shard, each as if it were alone.

Recall is of the dense leg against brute force; latencies are of the whole hybrid search, beside the
same request sent to Qdrant Edge by hand. The two alternate in who goes first, since the second of
two equal queries finds everything in the processor's cache.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from evals.performance import raw_edge, sealing
from evals.performance.corpus import Corpus, Question, TenantPoints, exact
from evals.performance.peers import LocalMode, NumpySlab
from isolation.context import TenantContext
from isolation.tenant_id import TenantId
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.documents import Chunk, DocumentVersion, EmbeddedChunk
from rag.store.edge.store import EdgeVectorStore
from rag.store.port import HybridQuery, TenantCollection
from rag.store.terms import TermCounter, TermSpace

_DIMENSION, _LIMIT, _SEED = 384, 10, 7
_CHUNKS_A_DOCUMENT = 100

Progress = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much: `grown` is how many points others have at the end of the growth measurement.

    local_questions: to `qdrant-client`'s local mode, which takes seconds for one.
    """

    points: int = 100_000
    tenants: int = 1_000
    questions: int = 200
    local_questions: int = 5
    grown: int = 500_000


async def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """All figures; they stay in a temporary folder that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        progress(f"loading {plan.points} points of {plan.tenants} tenants")
        store = EdgeVectorStore.open(Path(folder) / "shard", _DIMENSION)
        corpus = Corpus(plan.points, plan.tenants, _DIMENSION, _SEED)
        chosen, seconds = await _loaded(store, corpus)
        as_written = await _cells(store, corpus, chosen, plan, progress)
        progress("building the indexes")
        begun = time.perf_counter()
        await store.optimize(operator_for_tests())
        optimize_seconds = round(time.perf_counter() - begun, 1)
        optimized = await _cells(store, corpus, chosen, plan, progress)
        peers = _peers(plan, chosen, progress)
        await store.close()
    return {
        "measure": "hybrid retrieval of one tenant among many",
        "points": sum(corpus.sizes),
        "tenants": plan.tenants,
        "dimension": _DIMENSION,
        "points_per_second_written": round(sum(corpus.sizes) / seconds),
        "optimize_seconds": optimize_seconds,
        "as_written": as_written,
        "optimized": optimized,
        "peers": peers,
        "sealing": await sealing.measure(plan.points // 50, plan.questions),
        "growth": await _growth(plan, progress),
    }


async def _loaded(store: EdgeVectorStore, corpus: Corpus) -> tuple[dict[str, TenantPoints], float]:
    """The largest, the median and the smallest tenant, and how long the writing took."""
    last = len(corpus.sizes) - 1
    names = {0: "largest", last // 2: "median", last: "smallest"}
    chosen, seconds = {}, 0.0
    for number, tenant in enumerate(corpus.tenants()):
        seconds += await _put(store, tenant)
        if number in names:
            chosen[names[number]] = tenant
    return chosen, seconds


async def _put(store: EdgeVectorStore, tenant: TenantPoints) -> float:
    collection = store.of(tenant_for_tests(tenant.name))
    seconds = 0.0
    for begin in range(0, len(tenant.texts), _CHUNKS_A_DOCUMENT):
        rows = range(begin, min(begin + _CHUNKS_A_DOCUMENT, len(tenant.texts)))
        chunks = [
            EmbeddedChunk(Chunk(row, tenant.texts[row]), tenant.vectors[row].tolist())
            for row in rows
        ]
        begun = time.perf_counter()
        version = DocumentVersion(f"document-{begin}", "v1", "Document")
        await collection.stage(version, chunks)
        await collection.publish(f"document-{begin}", "v1")
        seconds += time.perf_counter() - begun
    return seconds


async def _cells(
    store: EdgeVectorStore,
    corpus: Corpus,
    chosen: dict[str, TenantPoints],
    plan: Plan,
    progress: Progress,
) -> dict[str, Any]:
    cells = {}
    for name, tenant in chosen.items():
        progress(f"asking the {name} tenant")
        questions = corpus.questions(tenant, plan.questions)
        ctx = tenant_for_tests(tenant.name)
        cells[name] = {
            "points": len(tenant.texts),
            "recall_at_10": await _recall(store.of(ctx), tenant, questions),
            "recall_at_10_post_filtered": _post_filtered(store, ctx, tenant, questions),
            **await _latencies(store, ctx, questions),
        }
    return cells


async def _recall(
    collection: TenantCollection, tenant: TenantPoints, questions: Sequence[Question]
) -> float:
    hits = wanted = 0
    for question in questions:
        found = await collection.search(HybridQuery("", question.dense), limit=_LIMIT)
        right = set(exact(tenant, question, _LIMIT))
        hits += len(right & {passage.ordinal for passage in found})
        wanted += len(right)
    return round(hits / wanted, 4)


def _post_filtered(
    store: EdgeVectorStore,
    ctx: TenantContext,
    tenant: TenantPoints,
    questions: Sequence[Question],
) -> float:
    """The peer: search everybody's, ten times too many, then keep the tenant's own."""
    hits = wanted = 0
    for question in questions:
        rows = raw_edge.post_filtered(store, ctx.tenant_id, question.dense, _LIMIT)
        right = set(exact(tenant, question, _LIMIT))
        hits += len(right & set(rows))
        wanted += len(right)
    return round(hits / wanted, 4)


async def _latencies(
    store: EdgeVectorStore, ctx: TenantContext, questions: Sequence[Question]
) -> dict[str, Any]:
    ours: list[float] = []
    raw: list[float] = []
    collection = store.of(ctx)
    for number, question in enumerate(questions):
        query = HybridQuery(question.text, question.dense)

        async def through_us(query: HybridQuery = query) -> None:
            begun = time.perf_counter()
            await collection.search(query, limit=_LIMIT)
            ours.append(time.perf_counter() - begun)

        def by_hand(query: HybridQuery = query) -> None:
            begun = time.perf_counter()
            raw_edge.hybrid(store, ctx.tenant_id, query, _LIMIT)
            raw.append(time.perf_counter() - begun)

        if number % 2:
            await through_us()
            by_hand()
        else:
            by_hand()
            await through_us()
    return {"ours": _summary(ours), "raw": _summary(raw), "cost": _cost(ours, raw)}


def _cost(ours: list[float], raw: list[float]) -> float:
    """What our layer adds, as a share of the raw call: of the medians."""
    return round(statistics.median(ours) / statistics.median(raw) - 1, 3)


def _summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": round(1000 * ordered[len(ordered) // 2], 3),
        "p99_ms": round(1000 * ordered[len(ordered) * 99 // 100], 3),
    }


def _peers(plan: Plan, chosen: dict[str, TenantPoints], progress: Progress) -> dict[str, Any]:
    """The same hybrid questions to a slab for each tenant, and to local mode with all points."""
    progress("peers: writing to qdrant-client's local mode")
    corpus = Corpus(plan.points, plan.tenants, _DIMENSION, _SEED)
    local, counter = LocalMode(_DIMENSION), TermCounter(TermSpace.shared)
    for tenant in corpus.tenants():
        local.put(tenant, partial(counter.of_document, TenantId(tenant.name)))
    cells = {}
    for name, tenant in chosen.items():
        progress(f"peers: asking the {name} tenant")
        slab = NumpySlab(tenant, partial(counter.of_document, TenantId(tenant.name)))
        questions = [
            (question, counter.of_query(TenantId(tenant.name), question.text))
            for question in corpus.questions(tenant, plan.questions)
        ]
        few = questions[: plan.local_questions]
        cells[name] = {
            "numpy_slab": _timed(slab.search, [(q, s, _LIMIT) for q, s in questions]),
            "qdrant_client_local": _timed(
                local.search, [(tenant.name, q, s, _LIMIT) for q, s in few]
            ),
        }
    local.close()
    return cells


def _timed(search: Callable[..., object], calls: Sequence[tuple[Any, ...]]) -> dict[str, float]:
    seconds = []
    for arguments in calls:
        begun = time.perf_counter()
        search(*arguments)
        seconds.append(time.perf_counter() - begun)
    return {"questions": len(calls), **_summary(seconds)}


async def _growth(plan: Plan, progress: Progress) -> dict[str, Any]:
    """A tenant of 1,000 points, while the others' grow: as written, and with indexes built.

    Building them also puts a tenant's points side by side (`is_tenant`), which is what keeps a
    scan of a tenant as fast among many as among few.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = EdgeVectorStore.open(Path(folder) / "shard", _DIMENSION)
        corpus = Corpus(plan.grown, plan.tenants, _DIMENSION, _SEED)
        steady = corpus.tenant("steady", 1_000)
        await _put(store, steady)
        marks, written, steps = [plan.grown // 50, plan.grown], 0, []
        # The smallest first, so that both marks are of many tenants.
        for number, size in enumerate(reversed(corpus.sizes)):
            await _put(store, corpus.tenant(f"other-{number}", size))
            written += size
            if marks and written >= marks[0] * 0.98:
                marks.pop(0)
                progress(f"growth: others have {written} points")
                steps.append({"others": written, **await _step(store, corpus, steady, plan)})
        await store.close()
    return {"points": 1_000, "steps": steps} | {
        f"p50_ratio_{state}": _ratio(steps, state) for state in ("as_written", "optimized")
    }


async def _step(
    store: EdgeVectorStore, corpus: Corpus, steady: TenantPoints, plan: Plan
) -> dict[str, Any]:
    ctx = tenant_for_tests(steady.name)
    questions = corpus.questions(steady, plan.questions)
    as_written = await _latencies(store, ctx, questions)
    await store.optimize(operator_for_tests())
    return {"as_written": as_written, "optimized": await _latencies(store, ctx, questions)}


def _ratio(steps: list[dict[str, Any]], state: str) -> float:
    first, last = (float(step[state]["ours"]["p50_ms"]) for step in (steps[0], steps[-1]))
    return round(last / first, 2)
