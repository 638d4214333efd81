"""`bulkhead bench quality`: what retrieval finds, and when it says that there is nothing."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.quality.compressing import compression
from evals.quality.corpora import SUPPORT, TWIN, Corpus, Progress, ingest_all
from evals.quality.question_sets import (
    FOLLOW_UP,
    Asked,
    Half,
    Part,
    answerable,
    half,
    part,
    questions,
    scenarios,
)
from evals.quality.ranking import Ranked, compared, follow_ups, rank
from evals.quality.refusing import Judged, calibrated, judge, report
from rag.store.fusion import LEXICAL, PREFETCH, UNSEEN
from serving.embedded.core import Core, open_core
from serving.settings import Settings

_HALVES: tuple[Half, ...] = ("development", "test")
_PARTS: tuple[Part, ...] = ("development", "test", "fresh")
_MERCHANTS, _SCENARIOS, _TOPICS = "merchants", "support_scenarios", "topic_changes"
_SEED = 7

Pairs = Sequence[tuple[str, Asked]]


async def measure(
    merchants: Path, data: Path | None, most: int | None, progress: Progress
) -> dict[str, Any]:
    """All figures; what is ingested stays in a temporary folder that is removed.

    most: questions of each group and half, for a quick look; None asks all.

    Raises:
        ForeignHitError: a search returned what is not the tenant's.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=Path(folder), database_url=None, qdrant_url=None, redis_url=None, demo=None
        )
        async with open_core(settings) as core:
            begun = time.perf_counter()
            corpora = await ingest_all(core, merchants, data, progress)
            seconds = round(time.perf_counter() - begun, 1)
            sets = _sets(corpora, data)
            ranking = await _ranking(core, corpora, sets, most, progress)
            progress("asking the twin")
            asked_of_twin = await _twin_keeps_to_itself(core, corpora)
            refusal = await _refusal(core, corpora, settings, most, progress)
            progress("compressing passages")
            compressed = await compression(core, corpora, settings.top_k, most)
    return {
        "measure": "document-level ranking and refusal, through the real ingestion and store",
        "data": "support articles and demo merchants" if data else "demo merchants only",
        "split": "of each kind, every second question is of the test half; choices were made on "
        "the development half; the fresh questions were written after them, by somebody who did "
        "not see them",
        "fusion": {"lexical": LEXICAL, "unseen": UNSEEN, "prefetch": PREFETCH},
        "corpora": {name: corpus.documents for name, corpus in corpora.items()},
        "ingest_seconds": seconds,
        "foreign_hits": 0,
        "questions_to_the_twin": asked_of_twin,
        "ranking": ranking,
        "refusal": refusal,
        "compression": compressed,
    }


def _sets(corpora: Mapping[str, Corpus], data: Path | None) -> dict[str, dict[str, Pairs]]:
    """Groups of questions by half, each question with the corpus that it is asked of."""
    named = {name: questions(name) for name in corpora if name != TWIN}
    groups = {_MERCHANTS: [name for name in named if name != SUPPORT]}
    if data is not None:
        groups[SUPPORT] = [SUPPORT]
    whole = {
        group: [(name, one) for name in names for one in answerable(named[name])]
        for group, names in groups.items()
    }
    if data is not None:
        whole[_SCENARIOS] = [(SUPPORT, one) for one in scenarios(data / "questions.jsonl")]
    whole[_TOPICS] = [(name, one) for name in named for one in _topic_changes(named[name])]
    halved = {group: _halved(asked) for group, asked in whole.items()}
    unseen: dict[str, dict[str, Pairs]] = {
        f"fresh_{group}": {
            "fresh": [(name, one) for name in names for one in answerable(part(name, "fresh"))]
        }
        for group, names in groups.items()
    }
    return halved | unseen


def _halved(asked: Pairs) -> dict[str, Pairs]:
    halves = {which: set(half([one for _, one in asked], which)) for which in _HALVES}
    return {which: [pair for pair in asked if pair[1] in own] for which, own in halves.items()}


def _topic_changes(asked: Sequence[Asked]) -> list[Asked]:
    """Questions that stand alone, each after turns on another topic: rewriting must not harm."""
    histories = [one.conversation[:-1] for one in asked if one.kind == FOLLOW_UP]
    chance = random.Random(_SEED)
    return [
        replace(one, conversation=(*chance.choice(histories), *one.conversation))
        for one in answerable(asked)
        if one.kind != FOLLOW_UP
    ]


async def _ranking(
    core: Core,
    corpora: Mapping[str, Corpus],
    sets: Mapping[str, Mapping[str, Pairs]],
    most: int | None,
    progress: Progress,
) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for group, halves in sets.items():
        for which, asked in halves.items():
            progress(f"ranking: {group}, {which}")
            pairs = asked[:most]
            ranked: list[Ranked] = [await rank(core, corpora[name], one) for name, one in pairs]
            ones = [one for _, one in pairs]
            cell = compared(ones, ranked) | {"follow_ups": follow_ups(ones, ranked)}
            results.setdefault(group, {})[which] = cell
    return results


async def _twin_keeps_to_itself(core: Core, corpora: Mapping[str, Corpus]) -> int:
    """Ask the near-identical copy, too: it must find its own, and nothing but its own."""
    if TWIN not in corpora:
        return 0
    asked = answerable(questions(SUPPORT))[::5]
    for one in asked:
        await rank(core, corpora[TWIN], one)
    return len(asked)


async def _refusal(
    core: Core,
    corpora: Mapping[str, Corpus],
    settings: Settings,
    most: int | None,
    progress: Progress,
) -> dict[str, Any]:
    judged: dict[Part, dict[str, list[Judged]]] = {}
    for which in _PARTS:
        progress(f"refusal: {which}")
        judged[which] = {
            name: await judge(core, corpus, _some(part(name, which), most), settings.top_k)
            for name, corpus in corpora.items()
            if name != TWIN
        }
    # One threshold for every tenant: that of the kind of corpus whose questions it would harm most.
    threshold = min(calibrated(alike) for alike in _by_kind_of_corpus(judged["development"]))
    shipped = float(Settings.model_fields["refusal_threshold"].default)
    test, unseen = judged["test"], judged["fresh"]
    return {
        "calibrated_on": report(_all(judged["development"]), threshold),
        "reported_on": report(_all(test), threshold),
        "by_corpus": {name: report(of_corpus, threshold) for name, of_corpus in test.items()},
        "fresh": report(_all(unseen), threshold),
        "fresh_by_corpus": {name: report(own, threshold) for name, own in unseen.items()},
        "shipped_threshold": report(_all(test), shipped),
        "fresh_with_shipped_threshold": report(_all(unseen), shipped),
    }


def _by_kind_of_corpus(by_corpus: Mapping[str, Sequence[Judged]]) -> list[list[Judged]]:
    """The support articles; the merchants together, who have few questions each."""
    articles = {name: judged for name, judged in by_corpus.items() if name == SUPPORT}
    merchants = {name: judged for name, judged in by_corpus.items() if name != SUPPORT}
    return [_all(alike) for alike in (articles, merchants) if alike]


def _all(by_corpus: Mapping[str, Sequence[Judged]]) -> list[Judged]:
    return [one for of_corpus in by_corpus.values() for one in of_corpus]


def _some(asked: Sequence[Asked], most: int | None) -> list[Asked]:
    """Of both, the questions that have an answer and those that have none."""
    return answerable(asked)[:most] + [one for one in asked if not one.relevant][:most]
