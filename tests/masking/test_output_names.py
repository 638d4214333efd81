"""Persons and addresses that nothing in the request held do not leave, wherever it was cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.errors import AnswerBlockedError
from isolation.masking.findings import Finding
from isolation.masking.given import Given
from isolation.masking.output import REMOVED
from isolation.masking.output_names import (
    LONGEST_RUN,
    NAME_KINDS,
    ForeignNamesGuard,
    ForeignNamesRules,
)

GIVEN = ["Berg, Ada: my address is 8 Oak Lane, Bergen.", "Sold by Fjellvik Outfitters."]
FOREIGN = [
    "Sarah Miller",
    "Lucas van Dahl",
    "24 Elm Street, Springfield, IL 62704",
    "Hauptstraße 12, 10115 Berlin",
    "8 rue de la Paix, 75002 Paris",
]
OWN = ["Ada Berg", "8 Oak Lane, Bergen", "Fjellvik Outfitters"]
ORDINARY = ["within 30 days", "American Express", "Black Friday", "12:00 on Mondays", "90 Hz"]


class Reader:
    """Finds the persons it is told of, and counts what it was asked."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self.asked: list[str] = []

    async def find(self, text: str) -> list[Finding]:
        self.asked.append(text)
        places = ((text.find(name), name) for name in self._names)
        return [Finding(at, at + len(name), "PERSON") for at, name in places if at >= 0]


def _by_rule(text: str, cuts: Sequence[int] = ()) -> str:
    guard = ForeignNamesRules(Given(GIVEN), NAME_KINDS)
    out, position, given_out = [], 0, 0
    for cut in [*sorted(cut for cut in cuts if cut < len(text)), len(text)]:
        out.append(guard.feed(text[position:cut]))
        position = cut
        given_out = len("".join(out))
        if REMOVED not in "".join(out):
            assert position - given_out <= LONGEST_RUN
    return "".join([*out, guard.flush()])


async def _read(text: str, reader: Reader, given: Sequence[str] = GIVEN) -> str:
    guard = ForeignNamesGuard(Given(given), NAME_KINDS, (), reader.find)
    return "".join([await guard.feed(char) for char in text]) + await guard.flush()


@pytest.mark.parametrize("value", FOREIGN)
async def test_foreign_names_and_addresses_are_removed(value: str) -> None:
    text = f"It was sent to {value}. Ask {value} about it."
    assert _by_rule(text) == f"It was sent to {REMOVED}. Ask {REMOVED} about it."
    assert await _read(text, Reader()) == _by_rule(text)


@pytest.mark.parametrize("value", [*OWN, *ORDINARY])
async def test_what_was_given_and_what_is_ordinary_stays(value: str) -> None:
    text = f"It is {value}.\nYes, {value} it is."
    assert _by_rule(text) == text
    assert await _read(text, Reader()) == text


_ANSWERS = st.lists(
    st.one_of(
        st.sampled_from([*FOREIGN, *OWN, *ORDINARY, " ", "\n", "x" * 160, "Dear", "lives at"]),
        st.text(max_size=8),
    )
).map(" ".join)


@given(_ANSWERS, st.lists(st.integers(0, 400), max_size=10))
def test_it_does_not_matter_where_a_stream_was_cut(answer: str, cuts: list[int]) -> None:
    assert _by_rule(answer, cuts) == _by_rule(answer)


async def test_names_that_no_rule_knows_are_the_models_to_find() -> None:
    text = "We have told Nurzhan Vizirov that it is in stock."
    assert _by_rule(text) == text  # the control
    reader = Reader("Nurzhan Vizirov")
    assert await _read(text, reader) == f"We have told {REMOVED} that it is in stock."
    # What follows helps the model; what is not a name is not asked about.
    assert reader.asked == ["We have told Nurzhan Vizirov that"]


async def test_what_the_request_held_is_not_asked_about() -> None:
    reader = Reader("Ada Berg")
    assert await _read("We have told Ada Berg that.", reader) == "We have told Ada Berg that."
    assert reader.asked == []


async def test_the_model_is_not_asked_about_other_languages() -> None:
    """It takes German nouns for persons; the rules still hold."""
    text = "Bitte legen Sie die Rechnung und den Lieferschein der Ware bei, Frau Miller."
    reader = Reader("Rechnung", "Lieferschein")
    shown = await _read(text, reader)
    assert shown == text.replace("Miller", REMOVED)


async def test_a_kind_that_is_blocked_ends_the_answer_before_it() -> None:
    guard = ForeignNamesGuard(Given(), ["PERSON"], ["STREET_ADDRESS"], None)
    left = await guard.feed("It went to Sarah Miller at ")
    with pytest.raises(AnswerBlockedError) as blocked:
        left += await guard.feed("24 Elm Street, Springfield, on Monday.") + await guard.flush()
    assert left == f"It went to {REMOVED} at "
    assert "Elm" not in str(blocked.value)


async def test_a_kind_that_the_policy_leaves_is_left() -> None:
    guard = ForeignNamesGuard(Given(), ["STREET_ADDRESS"], (), None)
    text = "Sarah Miller, 24 Elm Street."
    assert await guard.feed("Ask Sarah Miller now. ") == "Ask Sarah Miller now. "
    nothing = ForeignNamesRules(Given(), ["EMAIL_ADDRESS"])
    assert nothing.feed(text) + nothing.flush() == text
