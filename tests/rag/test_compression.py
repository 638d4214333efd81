"""What is left of passages in a prompt: whole sentences, with their headings."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.errors import CrossTenantError, UnmintedContextError
from isolation.masking.masked_text import MaskedText
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Passage
from rag.embedding.minilm import MiniLmEmbedder
from rag.retrieval.compression import Compressor, compressed
from rag.retrieval.follow_up import Question
from rag.sentences import spans

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
TENT = """Jotun 4, family tent > Living in it
The Jotun 4 sleeps four people.
The height inside is 145 cm.
The porch holds a bicycle.
The colours are red and green."""
SHIPPING = """Shipping > Prices
Standard shipping costs NOK 79.
Express shipping costs NOK 149."""


@pytest.fixture(scope="module")
def minilm() -> Generator[MiniLmEmbedder, None, None]:
    embedder = MiniLmEmbedder()
    yield embedder
    embedder.close()


class Flat:
    """Every text is as near as every other, so that the first ones are chosen."""

    name, dimension, checksum = "flat", 1, "flat"

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0] for _ in texts]

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def close(self) -> None:
        pass


def _passage(text: str, document: str = "d.md") -> Passage:
    title = text.partition(" > ")[0]
    return Passage(FJELLVIK.tenant_id, document, "v1", 0, title, text, 1.0)


async def test_the_sentence_that_answers_stays_with_its_heading(minilm: MiniLmEmbedder) -> None:
    passages = [_passage(TENT, "tent.md"), _passage(SHIPPING, "shipping.md")]
    for question, kept in (
        ("How high is the Jotun 4 inside?", "Living in it\nThe height inside is 145 cm."),
        ("what does express shipping cost", "Shipping > Prices\nExpress shipping costs NOK 149."),
    ):
        (found,) = await compressed(minilm, question, passages, 1)
        assert found.text.endswith(kept)
        assert found.text.count("\n") == 1


async def test_a_sentence_is_weighed_with_its_heading(minilm: MiniLmEmbedder) -> None:
    passages = [
        _passage(f"{name} > Weight\nIt weighs {weight} kg.\nIt is green.\nIt is new.")
        for name, weight in (("Jotun 4", 5), ("Kveld", 1))
    ]
    (found,) = await compressed(minilm, "How heavy is the Kveld?", passages, 1)
    assert found.text == "Kveld > Weight\nIt weighs 1 kg."


async def test_the_order_of_documents_and_of_sentences_stays(minilm: MiniLmEmbedder) -> None:
    passages = [_passage(SHIPPING, "a.md"), _passage(TENT, "b.md")]
    question = "How high is it inside, which colours are there, and what does express cost?"
    found = await compressed(minilm, question, passages, 3)
    assert [passage.document_id for passage in found] == ["a.md", "b.md"]
    for before, after in zip(passages, found, strict=True):
        places = [before.text.index(line) for line in after.text.split("\n")]
        assert places == sorted(places)


async def test_nothing_is_cut_where_there_is_no_more_than_is_wanted() -> None:
    passages = [_passage(TENT), _passage("A title alone")]
    assert await compressed(Flat(), "?", passages, 5) == passages
    assert await compressed(Flat(), "?", passages, 4) == passages[:1]


async def test_the_heading_of_a_neighbour_that_joined_is_its_sentences_own(
    minilm: MiniLmEmbedder,
) -> None:
    second = SHIPPING.replace("> Prices", "> Abroad").replace("149", "249")
    (found,) = await compressed(minilm, "express abroad?", [_passage(f"{SHIPPING}\n\n{second}")], 1)
    assert found.text == "Shipping > Abroad\nExpress shipping costs NOK 249."


async def test_what_was_masked_stays_masked() -> None:
    text = "Staff > Who\nAsk <PERSON_1>.\nOr <PERSON_2>.\nOr nobody."
    masked = MaskedText(text, {"<PERSON_1>": "Ada", "<PERSON_2>": None}, "d")
    passage = _passage(masked.restored)._replace(masked=masked)
    (found,) = await compressed(Flat(), "?", [passage], 2)
    assert found.masked is not None
    assert found.masked.text == "Staff > Who\nAsk <PERSON_1>.\nOr <PERSON_2>."
    assert found.text == "Staff > Who\nAsk Ada.\nOr [person]."


async def test_a_foreign_passage_is_refused_and_so_is_nobody() -> None:
    compressor = Compressor(Flat, 1)
    own = await compressor.of(FJELLVIK).compress(Question("?"), [_passage(TENT)])
    assert len(own) == 1  # the control
    with pytest.raises(CrossTenantError):
        await compressor.of(VOLTBAY).compress(Question("?"), [_passage(TENT)])
    with pytest.raises(UnmintedContextError):
        compressor.of("fjellvik")  # type: ignore[arg-type]


@given(
    texts=st.lists(st.text("ab .!?\n|>1"), min_size=1, max_size=3),
    most=st.integers(1, 4),
)
async def test_what_is_left_stood_there(texts: list[str], most: int) -> None:
    passages = [_passage(text, f"{number}.md") for number, text in enumerate(texts)]
    found = await compressed(Flat(), "?", passages, most)
    whole = {passage.document_id: passage.text for passage in passages}
    for passage in found:
        rest = whole[passage.document_id]
        for line in passage.text.split("\n"):
            assert line in rest
            rest = rest[rest.index(line) + len(line) :]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Yes. No! Why? (It is.) So", ["Yes.", "No!", "Why?", "(It is.)", "So"]),
        ("1. Pack it.\n2. Send it.", ["1. Pack it.", "2. Send it."]),
        ("A line that was\nwrapped. Next", ["A line that was\nwrapped.", "Next"]),
        ("One row: 1; two: 2\nOne row: 3", ["One row: 1; two: 2", "One row: 3"]),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n\nAfter", ["| a | b |\n|---|---|\n| 1 | 2 |", "After"]),
        ("Since 2024. It costs 20. Yes", ["Since 2024.", "It costs 20.", "Yes"]),
        ("It costs 4.50 EUR. 2.5 kg", ["It costs 4.50 EUR.", "2.5 kg"]),
        (" \n ", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert [text[begin:end] for begin, end in spans(text)] == sentences
