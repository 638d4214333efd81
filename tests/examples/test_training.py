"""The pairs that the demo adapters learn from, and what they must not hold."""

from __future__ import annotations

import json
import random
import runpy
from pathlib import Path

import pytest

from evals.quality.adapter_answers import held_out, states
from rag.reading.reader import read_bytes
from serving.training.examples import Example, read_pairs

ROOT = Path(__file__).resolve().parents[2] / "examples"
MERCHANTS = ["fjellvik", "voltbay"]
each_merchant = pytest.mark.parametrize("merchant", MERCHANTS)


def _text(merchant: str, name: str) -> str:
    path = ROOT / "merchants" / merchant / "documents" / name
    return read_bytes(name, path.read_bytes(), name).text


@each_merchant
def test_there_are_enough_pairs_each_with_its_document(merchant: str) -> None:
    pairs = read_pairs(ROOT / "training" / f"{merchant}.jsonl")
    assert len(pairs) >= 120
    assert len({pair.question for pair in pairs}) == len(pairs)
    for name in {pair.document for pair in pairs if pair.document}:
        assert _text(merchant, name)


@each_merchant
def test_no_held_out_question_or_fact_is_learned(merchant: str) -> None:
    pairs = read_pairs(ROOT / "training" / f"{merchant}.jsonl")
    learned = {pair.question.casefold().strip(" ?") for pair in pairs}
    for asking in held_out(merchant):
        assert asking.question.casefold().strip(" ?") not in learned
        if asking.fact is None:
            continue
        assert not [pair for pair in pairs if pair.document == asking.document], asking.question


@each_merchant
def test_a_held_out_fact_stands_in_its_document(merchant: str) -> None:
    asked = [one for one in held_out(merchant) if one.fact is not None]
    assert len(asked) >= 40
    for one in asked:
        assert one.document is not None
        assert one.fact is not None
        assert states(_text(merchant, one.document), one.fact), one.question
        assert one.customer is None or one.customer in one.question


@each_merchant
def test_a_trained_voice_is_small_and_says_its_base_and_no_path(merchant: str) -> None:
    folder = ROOT / "adapters" / merchant
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "smollm2-135m-instruct"
    assert (folder / "adapter_model.safetensors").stat().st_size < 4 * 2**20


def test_what_teaches_to_read_marks_the_passage_that_holds_the_answer() -> None:
    made = _made_readings(60)
    marks: dict[str, int] = {}
    for one in made:
        for asked in (one, *one.also):
            said, _, mark = asked.answer.rpartition(" [")
            if not mark.endswith("]."):
                assert asked.answer == "I do not know, the sources do not say that."
                continue
            marks[mark] = marks.get(mark, 0) + 1
            said = said.removeprefix("<PERSON_1>, ").removeprefix("<PERSON_2>, ")
            assert said[1:] in one.passages[int(mark[:-2]) - 1]
    # None of the numbers is right by itself.
    assert max(marks.values()) < 0.6 * sum(marks.values())


def test_what_teaches_to_read_holds_nothing_that_is_held_out() -> None:
    texts = " ".join(text for one in _made_readings(60) for text in one.passages)
    assert not states(texts, "gift card")
    for merchant in MERCHANTS:
        asked = {one.question.casefold() for one in held_out(merchant)}
        assert not asked.intersection(
            question.casefold() for one in _made_readings(60) for question in one.questions
        )
        for document in {one.document for one in held_out(merchant) if one.document}:
            title = read_title(merchant, document)
            assert not states(texts, title), title


def read_title(merchant: str, name: str) -> str:
    path = ROOT / "merchants" / merchant / "documents" / name
    return read_bytes(name, path.read_bytes(), name).title


def _made_readings(count: int) -> list[Example]:
    module = runpy.run_path(str(ROOT / "training" / "reading" / "make.py"))
    chance, shops = random.Random(1), module["read_shops"]()
    return [Example.model_validate(module["example"](shops, chance)) for _ in range(count)]
