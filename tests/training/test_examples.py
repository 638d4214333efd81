"""What is learned from: read strictly, and no error says what a line holds."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from isolation.tenant_id import tenant_id
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Passage
from rag.prompt import Message, assemble
from serving.engine.tokens import ByteCounter
from serving.training.errors import ExamplesError
from serving.training.examples import (
    MOST_TOKENS,
    Asked,
    Example,
    Pair,
    read_examples,
    read_pairs,
    write_examples,
)
from serving.training.together import searched, together
from serving.training.varied import varied

FJELLVIK, VOLTBAY = tenant_id("fjellvik"), tenant_id("voltbay")
CANARY = "canary-7f3a9c"
GOOD = {
    "tenant": "fjellvik",
    "question": f"how long may I return it, {CANARY}?",
    "passages": [f"Returns within 30 days. {CANARY}"],
    "answer": f"Within 30 days [1]. {CANARY}",
}


def count(messages: Any) -> int:
    return ByteCounter().count_messages(messages)


def _file(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "voice.jsonl"
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return path


def test_examples_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "made.jsonl"
    write_examples(path, [Example.model_validate_json(json.dumps(GOOD))] * 2)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [e.answer for e in read_examples(path, FJELLVIK, count)] == [GOOD["answer"]] * 2


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ("{" + CANARY, "line 2: it is not a JSON object"),
        ('"' + CANARY + '"', "line 2:"),
        (GOOD | {"answer": " "}, "line 2: answer:"),
        (GOOD | {"passages": CANARY}, "line 2: passages:"),
        (GOOD | {CANARY: 1}, "line 2:"),
        ({k: v for k, v in GOOD.items() if k != "question"}, "line 2: question:"),
        (GOOD | {"tenant": "voltbay"}, "line 2: it is another tenant's"),
        (GOOD | {"passages": ["x" * 2 * MOST_TOKENS]}, "line 2: it has"),
    ],
)
def test_a_bad_line_is_named_and_not_quoted(tmp_path: Path, second: object, why: str) -> None:
    with pytest.raises(ExamplesError) as refused:
        read_examples(_file(tmp_path, GOOD, second), FJELLVIK, count)
    assert why in refused.value.message
    assert CANARY not in refused.value.message


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_a_file_without_examples_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "voice.jsonl"
    path.write_text(content)
    with pytest.raises(ExamplesError, match="no example"):
        read_examples(path, FJELLVIK, count)
    with pytest.raises(ExamplesError, match="cannot be read"):
        read_examples(tmp_path / "absent.jsonl", FJELLVIK, count)


def test_each_tenant_learns_from_its_own_examples_alone(tmp_path: Path) -> None:
    twin = GOOD | {"tenant": "voltbay"}
    assert read_examples(_file(tmp_path, twin), VOLTBAY, count)
    with pytest.raises(ExamplesError, match="another tenant's"):
        read_examples(_file(tmp_path, twin), FJELLVIK, count)


def test_a_pair_marks_a_source_where_a_document_holds_the_answer(tmp_path: Path) -> None:
    pair = {"question": "q", "answer": "Yes [source].", "document": "a.md"}
    assert read_pairs(_file(tmp_path, pair))
    for wrong in (pair | {"document": None}, pair | {"answer": "Yes."}):
        with pytest.raises(ExamplesError, match="line 1"):
            read_pairs(_file(tmp_path, wrong))


def test_an_example_is_laid_out_as_a_chat_lays_it_out() -> None:
    ctx, passages = tenant_for_tests("fjellvik"), _passages("Returns.", "Refunds.")
    pair = Pair(question="how long?", answer="Refunds [source].", document="1.md")
    [made] = _together((pair, passages))
    asked = [Message("user", "how long?")]
    shown = sorted(passages, key=lambda passage: made.passages.index(passage.text))
    chat = assemble(ctx, asked, shown, token_budget=400, count_tokens=len)
    assert made.messages() == [{"role": m.role, "content": m.content} for m in chat.messages]
    assert made.answer == f"Refunds [{made.passages.index('Refunds.') + 1}]."


def test_an_answer_in_no_passage_that_was_found_is_no_example() -> None:
    for document in ("9.md", "0.md"):  # another document; another passage of the right one
        pair = Pair(question="how long?", answer="Long [source].", document=document)
        assert _together((pair, _passages("Returns."))) == []


def test_every_pair_is_asked_and_others_beside_it_each_with_its_own_source() -> None:
    passages = _passages("Returns take 30 days.", "Refunds take 7 days. Cards are fine.")
    held = [
        Pair(question="returns?", answer="Returns take 30 days [source].", document="0.md"),
        Pair(question="refunds?", answer="Refunds take 7 days [source].", document="1.md"),
        Pair(question="cards?", answer="Cards are fine [source].", document="1.md"),
        Pair(question="again?", answer="Cards are fine [source].", document="1.md"),
    ]
    absent = [
        Pair(question="boats?", answer="Boats sink slowly here [source].", document="7.md"),
        Pair(question="who?", answer="I do not know.", document=None),
    ]
    pairs = [(pair, passages) for pair in [*held * 20, *absent]]
    made = _together(*pairs)
    # The one that no passage answers is nobody's first question.
    assert {each.question for each in made} == {*(pair.question for pair in held), "who?"}
    orders = set()
    for each in made:
        orders.add(each.passages)
        beside = [one for one in each.also if one.question != "boats?"]
        assert each.question == "who?" or len(beside) == 2
        assert all(one.answer == "I do not know." for one in each.also if one not in beside)
        for one in (each, *beside):
            if one.question != "who?":
                holds = passages[0 if one.question == "returns?" else 1].text
                assert one.answer.endswith(f"[{each.passages.index(holds) + 1}].")
    declined = [one for each in made for one in each.also if one.question == "boats?"]
    assert 0 < len(declined) < len(made) / 2
    assert len(orders) == 2
    assert made == _together(*pairs)


def test_a_placeholder_is_not_searched_for() -> None:
    pair = Pair(question="<PERSON_1> here, how long?", answer="x", document=None)
    assert searched(pair) == "here, how long?"


def test_numbers_change_alike_and_marks_and_placeholders_stay() -> None:
    example = Example(
        tenant="fjellvik",
        question="<PERSON_1>: are it 30 days?",
        passages=("Within 30 days, NOK 2,190, 10:00 to 14:00.", "Item T-2101."),
        answer="<PERSON_1>, within 30 days [1].",
        also=(Asked(question="what number?", answer="Item T-2101, 2,190 [2]."),),
    )
    other = varied(example, random.Random(1))
    days = other.passages[0].split()[1]
    assert days != "30"
    assert other.answer == f"<PERSON_1>, within {days} days [1]."
    assert other.question == f"<PERSON_1>: are it {days} days?"
    assert "2,190" not in other.passages[0]
    assert other.also[0].answer.split()[2] == other.passages[0].split()[4].rstrip(",")
    assert varied(example, random.Random(1)) == other


def _together(*found: tuple[Pair, list[Passage]]) -> list[Example]:
    return together(FJELLVIK, found, token_budget=400, count_tokens=len, seed=1)


def _passages(*texts: str) -> list[Passage]:
    return [Passage(FJELLVIK, f"{n}.md", "v", 0, "t", text, 1.0) for n, text in enumerate(texts)]
