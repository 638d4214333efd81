"""The questions for retrieval: well formed, in the promised number, and on documents that exist."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rag.reading.reader import read_bytes

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = ROOT / "evals" / "quality" / "questions"
EXAMPLES = ROOT / "examples" / "merchants"
ANSWERABLE = {"plain", "exact", "paraphrase", "follow_up"}
UNANSWERABLE = {"absent", "off_topic", "other_tenant"}
FIELDS = {"id", "question", "history", "relevant", "kind"}
MERCHANTS = {"fjellvik": "voltbay", "voltbay": "fjellvik"}
SETS = ("support_kb", *MERCHANTS)
each_set = pytest.mark.parametrize("name", [*SETS, *(f"fresh/{name}" for name in SETS)])
each_merchant = pytest.mark.parametrize("merchant", MERCHANTS)


def _questions(name: str) -> list[dict[str, Any]]:
    lines = (QUESTIONS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _kinds(name: str) -> Counter[str]:
    return Counter(entry["kind"] for entry in _questions(name))


def _documents(merchant: str) -> list[Path]:
    return sorted((EXAMPLES / merchant / "documents").iterdir())


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _vocabulary(merchant: str) -> set[str]:
    """Each word that the merchant's documents hold."""
    texts = (read_bytes(p.name, p.read_bytes(), p.name).text for p in _documents(merchant))
    return set().union(*(_words(text) for text in texts))


@each_set
def test_every_question_has_the_fields_and_a_known_kind(name: str) -> None:
    for entry in _questions(name):
        assert FIELDS - {"history"} <= set(entry) <= FIELDS, entry
        assert entry["kind"] in ANSWERABLE | UNANSWERABLE, entry
        assert entry["question"] == entry["question"].strip() != "", entry


@each_set
def test_ids_are_unique_and_no_question_is_asked_twice(name: str) -> None:
    entries = _questions(name)
    assert len({entry["id"] for entry in entries}) == len(entries)
    asked = {(json.dumps(e.get("history")), e["question"].lower()) for e in entries}
    assert len(asked) == len(entries)


@each_set
def test_the_answerable_have_relevant_documents_and_the_others_none(name: str) -> None:
    for entry in _questions(name):
        assert bool(entry["relevant"]) == (entry["kind"] in ANSWERABLE), entry
        assert len(set(entry["relevant"])) == len(entry["relevant"]), entry


@each_set
def test_a_follow_up_carries_one_to_three_earlier_turns_and_nothing_else_does(name: str) -> None:
    for entry in _questions(name):
        assert ("history" in entry) == (entry["kind"] == "follow_up"), entry
        history = entry.get("history", [])
        roles = ["user", "assistant"] * (len(history) // 2)
        assert [turn["role"] for turn in history] == roles, entry
        assert len(history) <= 6, entry
        assert all(set(turn) == {"role", "content"} and turn["content"] for turn in history), entry


def test_the_support_articles_have_as_many_questions_as_promised() -> None:
    kinds, entries = _kinds("support_kb"), _questions("support_kb")
    answerable = sum(kinds[kind] for kind in ANSWERABLE)
    assert answerable >= 320
    assert kinds["follow_up"] >= 50
    assert min(kinds["exact"], kinds["paraphrase"]) >= 0.15 * answerable
    assert kinds["absent"] + kinds["off_topic"] >= 100
    assert len({i for entry in entries for i in entry["relevant"]}) >= 150


@each_merchant
def test_a_merchant_has_as_many_questions_as_promised(merchant: str) -> None:
    kinds = _kinds(merchant)
    unanswerable = sum(kinds[kind] for kind in UNANSWERABLE)
    assert sum(kinds[kind] for kind in ANSWERABLE) >= 60
    assert kinds["follow_up"] >= 12
    assert unanswerable >= 40
    assert kinds["other_tenant"] * 3 >= unanswerable


@each_merchant
def test_every_document_of_a_merchant_is_asked_for_and_no_other(merchant: str) -> None:
    asked = {i for entry in _questions(merchant) for i in entry["relevant"]}
    assert asked == {path.name for path in _documents(merchant)}


@each_merchant
def test_a_question_for_the_other_merchant_names_what_only_that_one_has(merchant: str) -> None:
    only_other = _vocabulary(MERCHANTS[merchant]) - _vocabulary(merchant)
    entries = [e for e in _questions(merchant) if e["kind"] == "other_tenant"]
    assert [e["question"] for e in entries if not _words(e["question"]) & only_other] == []


@pytest.mark.parametrize("name", SETS)
def test_a_fresh_question_was_not_asked_before_and_has_an_answer_or_none_as_often(
    name: str,
) -> None:
    fresh, before = _questions(f"fresh/{name}"), _questions(name)
    assert not {e["question"].lower() for e in fresh} & {e["question"].lower() for e in before}
    assert sum(bool(e["relevant"]) for e in fresh) * 2 == len(fresh)


@each_merchant
def test_the_demos_ten_questions_are_not_repeated(merchant: str) -> None:
    demo = json.loads((EXAMPLES / merchant / "questions.json").read_text(encoding="utf-8"))
    asked = {entry["question"].lower() for entry in _questions(merchant)}
    assert {entry["question"].lower() for entry in demo} & asked == set()


def test_every_relevant_support_article_exists() -> None:
    folder = os.environ.get("BULKHEAD_TEST_DATA")
    if folder is None:
        pytest.skip("BULKHEAD_TEST_DATA names no folder with support-kb/documents.jsonl")
    lines = Path(folder, "support-kb", "documents.jsonl").read_text(encoding="utf-8").splitlines()
    known = {json.loads(line)["id"] for line in lines}
    asked = {i for entry in _questions("support_kb") for i in entry["relevant"]}
    assert asked - known == set()
