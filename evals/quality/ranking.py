"""How well each way of searching ranks the documents that answer a question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from evals.quality.corpora import Corpus
from evals.quality.question_sets import FOLLOW_UP, Asked
from evals.statistics import mean_with_interval, ndcg, recall
from rag.documents import Passage
from rag.retrieval.follow_up import Question, question_of
from rag.retrieval.retriever import Retriever
from rag.store.port import HybridQuery
from serving.embedded.core import Core

# Chunks to look at: enough of them for twenty documents.
_DEEP, _PREFETCH, _RRF_K = 100, 30, 60
WAYS = ("dense", "sparse", "rank_fusion", "hybrid", "hybrid_rewritten", "pipeline")
PAIRS = (
    ("hybrid", "dense"),
    ("hybrid", "sparse"),
    ("hybrid", "rank_fusion"),
    ("hybrid_rewritten", "hybrid"),
    ("pipeline", "hybrid_rewritten"),
)

Ranked = dict[str, list[str]]


async def rank(core: Core, corpus: Corpus, asked: Asked) -> Ranked:
    """Document ids by each way, best first.

    Raises:
        ForeignHitError: one of them returned what is not the tenant's.
    """
    now = core.ingestor.generation
    retriever = Retriever(now.store, now.embedder).of(corpus.ctx)
    collection = now.store.of(corpus.ctx)
    alone, rewritten = Question(asked.text), question_of(asked.conversation)
    query = await retriever.query(alone)
    searched = {
        "dense": HybridQuery("", query.dense),
        "sparse": HybridQuery(query.text, []),
        "hybrid": query,
        "hybrid_rewritten": await retriever.query(rewritten),
    }
    found = {way: await collection.search(one, limit=_DEEP) for way, one in searched.items()} | {
        "pipeline": await retriever.search(rewritten, limit=_DEEP)
    }
    for passages in found.values():
        corpus.check(passages)
    ranked = {way: _documents(passages) for way, passages in found.items()}
    return ranked | {"rank_fusion": _rank_fused(found["dense"], found["sparse"])}


def compared(asked: Sequence[Asked], ranked: Sequence[Ranked]) -> dict[str, Any]:
    """Means of each way and paired differences, with 95% intervals."""
    scores = {way: _scores(way, asked, ranked) for way in WAYS}
    return {
        "questions": len(asked),
        "ways": {
            way: {name: mean_with_interval(values) for name, values in of_way.items()}
            for way, of_way in scores.items()
        },
        "differences": {
            f"{better} - {worse}": {
                name: mean_with_interval(
                    [a - b for a, b in zip(values, scores[worse][name], strict=True)]
                )
                for name, values in scores[better].items()
            }
            for better, worse in PAIRS
        },
    }


def follow_ups(asked: Sequence[Asked], ranked: Sequence[Ranked]) -> dict[str, Any] | None:
    """The same for questions that need the turns before them; None if there are none."""
    pairs = [pair for pair in zip(asked, ranked, strict=True) if pair[0].kind == FOLLOW_UP]
    return compared([one for one, _ in pairs], [by_way for _, by_way in pairs]) if pairs else None


def _scores(way: str, asked: Sequence[Asked], ranked: Sequence[Ranked]) -> dict[str, list[float]]:
    pairs = [(by_way[way], one.relevant) for one, by_way in zip(asked, ranked, strict=True)]
    return {
        "ndcg_at_10": [ndcg(documents, relevant) for documents, relevant in pairs],
        "recall_at_20": [recall(documents, relevant) for documents, relevant in pairs],
    }


def _documents(passages: Sequence[Passage]) -> list[str]:
    return list(dict.fromkeys(passage.document_id for passage in passages))


def _rank_fused(*legs: Sequence[Passage]) -> list[str]:
    """Reciprocal rank fusion of chunks (Cormack et al., SIGIR 2009), for comparison."""
    scores: dict[tuple[str, int], float] = defaultdict(float)
    for leg in legs:
        for rank, passage in enumerate(leg[:_PREFETCH]):
            scores[passage.document_id, passage.ordinal] += 1 / (_RRF_K + rank)
    best = sorted(scores, key=lambda chunk: -scores[chunk])
    return list(dict.fromkeys(document for document, _ in best))
