"""The demo merchants' documents: readable, each with its canary, and each shop told from the other.

Every text is what the product's own reader extracts, so a fact here is a fact a passage can hold.
"""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from rag.reading.reader import read_bytes

ROOT = Path(__file__).resolve().parents[2] / "examples" / "merchants"
MERCHANTS = {"fjellvik": "FJV", "voltbay": "VBX"}
each_merchant = pytest.mark.parametrize("merchant", MERCHANTS)


def _documents(merchant: str) -> dict[str, str]:
    """Each document's extracted text, by file name."""
    paths = sorted((ROOT / merchant / "documents").iterdir())
    return {path.name: read_bytes(path.name, path.read_bytes(), path.name).text for path in paths}


def _json(merchant: str, name: str) -> Any:
    return json.loads((ROOT / merchant / name).read_text(encoding="utf-8"))


TEXTS = {merchant: _documents(merchant) for merchant in MERCHANTS}


def _states(text: str, fact: str) -> bool:
    """Whether the text holds the fact as whole words: `2 years` does not stand in `12 years`."""
    return re.search(rf"(?<!\w){re.escape(fact)}(?!\w)", text, re.IGNORECASE) is not None


@each_merchant
def test_a_merchant_has_many_documents_in_every_format(merchant: str) -> None:
    names = TEXTS[merchant]
    assert len(names) >= 25
    assert {Path(name).suffix for name in names} == {".md", ".txt", ".html", ".csv", ".pdf"}


@each_merchant
def test_each_canary_stands_in_its_own_document_and_nowhere_else(merchant: str) -> None:
    canaries: dict[str, str] = _json(merchant, "canaries.json")
    assert set(canaries) == set(TEXTS[merchant])
    for name, canary in canaries.items():
        assert re.fullmatch(rf"{MERCHANTS[merchant]}-[A-Z0-9]{{5}}", canary)
        holders = [(m, n) for m in MERCHANTS for n, text in TEXTS[m].items() if canary in text]
        assert holders == [(merchant, name)]


@each_merchant
def test_a_question_is_answered_by_its_document_and_by_no_other(merchant: str) -> None:
    for entry in _json(merchant, "questions.json"):
        holders = [n for n, text in TEXTS[merchant].items() if _states(text, entry["fact"])]
        assert holders == [entry["document_id"]], entry["question"]


@each_merchant
def test_the_other_merchants_fact_stands_nowhere(merchant: str) -> None:
    (other,) = set(MERCHANTS) - {merchant}
    for entry in _json(merchant, "questions.json"):
        told = [n for n, text in TEXTS[merchant].items() if _states(text, entry["foreign_fact"])]
        assert told == [], entry["question"]
        assert _states(TEXTS[other][entry["document_id"]], entry["foreign_fact"])


def test_both_merchants_are_asked_the_same_questions() -> None:
    fjellvik, voltbay = (_json(merchant, "questions.json") for merchant in MERCHANTS)
    assert len(fjellvik) == 10
    assert [e["question"] for e in fjellvik] == [e["question"] for e in voltbay]
    assert [e["fact"] for e in fjellvik] == [e["foreign_fact"] for e in voltbay]
    assert [e["foreign_fact"] for e in fjellvik] == [e["fact"] for e in voltbay]


@each_merchant
def test_no_document_names_the_other_merchant(merchant: str) -> None:
    (other,) = set(MERCHANTS) - {merchant}
    assert [name for name, text in TEXTS[merchant].items() if other in text.lower()] == []


@each_merchant
def test_the_pdfs_are_what_the_script_makes(merchant: str) -> None:
    pdf_of = runpy.run_path(str(ROOT / "make_pdfs.py"))["pdf_of"]
    made = {
        f"{source.stem}.pdf": pdf_of(source.read_text(encoding="utf-8").splitlines())
        for source in (ROOT / merchant / "pdf_sources").iterdir()
    }
    documents = ROOT / merchant / "documents"
    assert made == {path.name: path.read_bytes() for path in documents.glob("*.pdf")}
    assert len(made) == 2
