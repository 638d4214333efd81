"""How many sentences a prompt needs: in how many prompts the asked fact still stands.

The questions are those of `bulkhead eval adapters-quality`. No document is named to the compressor;
the fact may stand in any passage of the merchant's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evals.quality.adapter_answers import HeldOut, held_out
from evals.quality.corpora import SUPPORT, TWIN, Corpus
from evals.quality.remembered import Remembered
from evals.statistics import share
from rag.documents import Passage
from rag.retrieval.compression import compressed
from rag.retrieval.follow_up import Question
from serving.embedded.core import Core
from serving.rollout.evaluation import states

SENTENCES = (1, 2, 3, 4, 5, 6, 8)


async def compression(
    core: Core, corpora: Mapping[str, Corpus], top_k: int, most: int | None
) -> dict[str, Any]:
    """Of the merchants' questions, the share whose fact is in the prompt, and its characters."""
    found = [
        (asked, passages)
        for name, corpus in corpora.items()
        if name not in (SUPPORT, TWIN)
        for asked, passages in await _found(core, corpus, held_out(name)[:most], top_k)
    ]
    embedder = Remembered(core.ingestor.generation.embedder)
    cells = {"whole": _cell(found)}
    for number in SENTENCES:
        cut = [
            (asked, await compressed(embedder, asked.question, passages, number))
            for asked, passages in found
        ]
        cells[str(number)] = _cell(cut)
    return cells


async def _found(
    core: Core, corpus: Corpus, asked: list[HeldOut], top_k: int
) -> list[tuple[HeldOut, list[Passage]]]:
    retriever, found = core.retriever.of(corpus.ctx), []
    for one in asked:
        if one.fact is not None:
            passages = await retriever.search(Question(one.question), limit=top_k)
            corpus.check(passages)
            found.append((one, passages))
    return found


def _cell(prompts: list[tuple[HeldOut, list[Passage]]]) -> dict[str, Any]:
    held = [
        any(states(passage.text, asked.fact or "") for passage in passages)
        for asked, passages in prompts
    ]
    characters = sum(len(passage.text) for _, passages in prompts for passage in passages)
    return {
        "fact_in_prompt": share(sum(held), len(held)),
        "characters": round(characters / max(1, len(prompts))),
    }
