"""The pairs that the demo adapters learn from, and what they must not hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.quality.adapter_answers import held_out, states
from rag.reading.reader import read_bytes
from serving.training.examples import read_pairs

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
