"""`bulkhead bench quality` on few questions, and what it counts by."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from evals.quality.corpora import SUPPORT, TWIN, Corpus, ForeignHitError
from evals.quality.question_sets import Asked, answerable, half, questions
from evals.quality.refusing import Judged, calibrated, report
from evals.statistics import mean_with_interval, ndcg, recall, separation, share
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Passage
from rag.prompt import Message
from tests.embedded.forks import bulkhead

ROOT = Path(__file__).resolve().parents[2]
SETS = ("support_kb", "fjellvik", "voltbay")


def test_the_benchmark_reports_each_way_and_says_that_the_articles_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    result = tmp_path / "result.json"
    run = bulkhead(["bench", "quality", "--questions", "8", "--out", str(result)], os.environ)
    assert run.returncode == 0, run.stderr
    assert "No --data" in run.stderr
    report = json.loads(result.read_text())
    assert report["foreign_hits"] == 0
    assert report["environment"]["machine"]["cores"]
    cell = report["ranking"]["merchants"]["test"]
    assert cell["questions"] == 8
    for way in ("dense", "sparse", "rank_fusion", "hybrid", "hybrid_rewritten", "pipeline"):
        score = cell["ways"][way]["ndcg_at_10"]
        assert 0 < score["low"] <= score["mean"] <= score["high"] <= 1
    assert report["refusal"]["reported_on"]["false_refusals"]["of"] == 16
    assert report["ranking"]["fresh_merchants"]["fresh"]["questions"] == 8
    assert report["refusal"]["fresh"]["false_refusals"]["of"] == 16
    prompts = report["compression"]
    held = {number: prompts[number]["fact_in_prompt"] for number in ("1", "8", "whole")}
    assert held["1"]["count"] <= held["8"]["count"] <= held["whole"]["count"] <= 16
    assert held["8"]["count"] > 8  # of 16 questions
    assert prompts["1"]["characters"] < prompts["8"]["characters"] < prompts["whole"]["characters"]


def test_data_that_is_not_there_is_refused(tmp_path: Path) -> None:
    run = bulkhead(["bench", "quality", "--data", str(tmp_path)], os.environ)
    assert run.returncode == 2
    assert "documents.jsonl" in run.stderr


@pytest.mark.parametrize("name", SETS)
def test_the_halves_share_no_question_and_have_the_same_kinds(name: str) -> None:
    asked = questions(name)
    development, test = half(asked, "development"), half(asked, "test")
    assert len(development) + len(test) == len(asked)
    assert not set(development) & set(test)
    assert {one.kind for one in development} == {one.kind for one in test}


def test_a_perfect_ranking_has_one_and_the_gain_falls_with_the_rank() -> None:
    relevant = frozenset({"a", "b"})
    assert ndcg(["a", "b", "c"], relevant) == pytest.approx(1)
    assert ndcg(["c", "a"], relevant) == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert ndcg(["c"], relevant) == 0
    assert recall(["c", "a"], relevant) == 0.5
    assert recall(["c"] * 20 + ["a"], relevant) == 0


def test_an_interval_holds_its_mean_and_one_of_no_difference_is_nothing() -> None:
    cell = mean_with_interval([0.1, 0.2, 0.3, 0.9])
    assert cell["low"] < cell["mean"] < cell["high"]
    assert mean_with_interval([0.0] * 5) == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert share(0, 10)["high"] > 0.2
    assert separation([0.9, 0.8], [0.1, 0.8]) == 0.875


def _judged(scores: dict[float, str]) -> list[Judged]:
    return [
        Judged(
            Asked(str(score), (Message("user", "?"),), frozenset(relevant), relevant or "absent"),
            score,
        )
        for score, relevant in scores.items()
    ]


def test_the_threshold_refuses_no_more_good_questions_than_allowed() -> None:
    judged = _judged({0.30 + n / 200: "d" for n in range(100)} | {0.1: "", 0.5001: ""})
    threshold = calibrated(judged)
    assert sum(one.relevance < threshold for one in judged if one.asked.relevant) <= 3
    told = report(judged, threshold)
    assert told["false_refusals"]["count"] <= 3
    assert told["let_through"]["absent"]["count"] == 1


def test_a_foreign_hit_fails_the_run() -> None:
    mine, other = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
    corpus = Corpus("fjellvik", mine, 1, ["VB-CANARY"])
    own = Passage(mine.tenant_id, "d", "v1", 0, "D", "ours", 1.0)
    corpus.check([own])
    for foreign in (
        Passage(other.tenant_id, "d", "v1", 0, "D", "ours", 1.0),
        Passage(mine.tenant_id, "d", "v1", 0, "D", "theirs: VB-CANARY", 1.0),
    ):
        with pytest.raises(ForeignHitError):
            corpus.check([own, foreign])
    with pytest.raises(ForeignHitError):
        Corpus(TWIN, mine, 1, []).check([own])


def test_questions_on_the_articles_are_there_in_number() -> None:
    assert len(answerable(questions(SUPPORT))) >= 300
