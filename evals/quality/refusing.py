"""The refusal's threshold: calibrated on one half of the questions, reported on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evals.quality.corpora import Corpus
from evals.quality.question_sets import Asked
from evals.statistics import separation, share
from rag.retrieval.follow_up import question_of
from rag.retrieval.relevance import relevance
from rag.retrieval.small_talk import is_small_talk
from serving.embedded.core import Core

# Of a hundred questions that the documents answer, so many may be refused. What is let through
# wrongly still meets a model that is told to say what it does not know.
_FALSE_REFUSALS = 0.03


@dataclass(frozen=True, slots=True)
class Judged:
    """A question with the relevance of what was found for it."""

    asked: Asked
    relevance: float


async def judge(core: Core, corpus: Corpus, asked: Sequence[Asked], top_k: int) -> list[Judged]:
    """Each question's relevance, as a chat finds it."""
    retriever, judged = core.retriever.of(corpus.ctx), []
    for one in asked:
        question = question_of(one.conversation)
        passages = await retriever.search(question, limit=top_k)
        corpus.check(passages)
        found = 1.0 if is_small_talk(one.text) else relevance(question, passages)
        judged.append(Judged(one, found))
    return judged


def calibrated(judged: Sequence[Judged]) -> float:
    """The highest threshold, in hundredths, that refuses no more answerable ones than allowed."""
    scores = [one.relevance for one in judged if one.asked.relevant]
    allowed = _FALSE_REFUSALS * len(scores)
    return max(
        (step / 100 for step in range(101) if sum(s < step / 100 for s in scores) <= allowed),
        default=0.0,
    )


def report(judged: Sequence[Judged], threshold: float) -> dict[str, Any]:
    """What the threshold does: good questions refused, and hopeless ones let through, by kind."""
    answerable = [one.relevance for one in judged if one.asked.relevant]
    hopeless = [one for one in judged if not one.asked.relevant]
    kinds = sorted({one.asked.kind for one in hopeless})
    return {
        "threshold": threshold,
        "false_refusals": share(sum(s < threshold for s in answerable), len(answerable)),
        "let_through": {
            kind: _let_through([j for j in hopeless if j.asked.kind == kind], threshold)
            for kind in kinds
        }
        | {"all": _let_through(hopeless, threshold)},
        "separation": separation(answerable, [one.relevance for one in hopeless]),
    }


def _let_through(judged: Sequence[Judged], threshold: float) -> dict[str, Any]:
    return share(sum(one.relevance >= threshold for one in judged), len(judged))
