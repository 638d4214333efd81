"""Documents that were masked when they came in: their placeholders become the request's."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.errors import ContentBlockedError
from isolation.masking.findings import Finding
from isolation.masking.masked_text import MaskedText
from isolation.masking.masker import Masker
from isolation.masking.placeholders import Numbering
from isolation.testing.contexts import tenant_for_tests
from tests.masking.test_policy import LOYALTY, Kept

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
EVERYTHING: dict[str, Any] = {"documents": {}}


class Names:
    """An analyzer that finds Ada, Bo and Maria, and notes what it is asked."""

    version = "1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        self.asked.append(text)
        return [Finding(*match.span(), "PERSON") for match in re.finditer("Ada|Bo|Maria", text)]


async def _masked(text: str, policy: dict[str, Any] = EVERYTHING, name: str = "d") -> MaskedText:
    masking = await Masker(Names(), Kept(fjellvik=policy)).documents(FJELLVIK)
    assert masking is not None
    mask = masking.begin()
    masked = await mask.mask(text)
    return MaskedText(masked, mask.values_in(masked), name)


async def test_a_document_has_placeholders_of_its_own_and_can_be_restored() -> None:
    masked = await _masked("Bo asks Ada. Ada answers Bo.")
    assert masked.text == "<PERSON_1> asks <PERSON_2>. <PERSON_2> answers <PERSON_1>."
    assert masked.restored == "Bo asks Ada. Ada answers Bo."
    assert "Ada" not in repr(masked)


async def test_a_request_numbers_them_anew_and_analyses_none_of_the_document() -> None:
    names = Names()
    masker = Masker(names, Kept(fjellvik=EVERYTHING))
    passages = [await _masked("Bo asks Ada.", name="one"), await _masked("Maria, Ada", name="two")]
    masked = await masker.mask(FJELLVIK, ["I am Ada."], passages)
    assert names.asked == ["I am Ada."]
    assert masked.documents == ["<PERSON_2> asks <PERSON_1>.", "<PERSON_3>, <PERSON_1>"]
    answer = "<PERSON_3> knows <PERSON_2> and <PERSON_1>"
    assert masked.vault.restore(FJELLVIK, answer) == "Maria knows Bo and Ada"


async def test_numbering_that_keeps_the_documents_own_would_restore_a_wrong_value() -> None:
    """The control of the test above."""
    passages = [await _masked("Bo"), await _masked("Maria")]
    assert {one.text for one in passages} == {"<PERSON_1>"}
    assert len({one.restored for one in passages}) == 2


@pytest.mark.parametrize("typed", ["<PERSON_1>", "[PERSON 1]", "PERSON_1", "&lt;person_1&gt;"])
async def test_what_a_document_says_in_our_form_comes_back_as_it_was(typed: str) -> None:
    masked = await _masked(f"{typed} is how Ada writes it.")
    assert masked.restored == f"{typed} is how Ada writes it."
    request = await Masker(Names(), Kept()).mask(FJELLVIK, ["I am Bo."], [masked])
    restored = request.vault.restore(FJELLVIK, request.documents[0])
    assert restored == f"{typed} is how Ada writes it."


async def test_a_kind_that_the_policy_has_no_more_is_not_taken_for_a_typed_one() -> None:
    masked = await _masked("Member FV-1234", {"documents": {}, "patterns": [LOYALTY]})
    request = await Masker(Names(), Kept()).mask(FJELLVIK, ["<LOYALTY_NUMBER_1>?"], [masked])
    assert request.texts == ["<LITERAL_1>?"]
    assert request.vault.restore(FJELLVIK, request.documents[0]) == "Member FV-1234"


async def test_a_kind_that_is_new_is_not_restored_where_an_old_document_names_it() -> None:
    masked = await _masked("Type [LOYALTY NUMBER 1].")
    masker = Masker(Names(), Kept(fjellvik={"patterns": [LOYALTY]}))
    request = await masker.mask(FJELLVIK, ["I am FV-1234"], [masked])
    assert request.vault.restore(FJELLVIK, request.documents[0]) == "Type [LOYALTY NUMBER 1]."


async def test_values_that_are_not_kept_are_told_apart_and_not_shown() -> None:
    masked = await _masked("Bo and Ada", {"documents": {}, "originals": "none"})
    assert set(masked.values.values()) == {None}
    assert masked.restored == "[person] and [person]"
    request = await Masker(Names(), Kept()).mask(FJELLVIK, [], [masked])
    assert request.documents == ["<PERSON_1> and <PERSON_2>"]
    assert request.vault.restore(FJELLVIK, "<PERSON_2>") == "[person]"


async def test_a_blocked_kind_refuses_the_document() -> None:
    with pytest.raises(ContentBlockedError):
        await _masked("Ask Ada.", {"documents": {"PERSON": "block"}})


async def test_documents_are_left_alone_where_the_policy_says_nothing() -> None:
    assert await Masker(Names(), Kept()).documents(FJELLVIK) is None


async def test_a_piece_is_analysed_once_and_again_for_another_tenant() -> None:
    names = Names()
    masker = Masker(names, Kept(fjellvik=EVERYTHING, voltbay=EVERYTHING))
    for ctx, asked in ((FJELLVIK, 1), (FJELLVIK, 1), (VOLTBAY, 2)):
        masking = await masker.documents(ctx)
        assert masking is not None
        await masking.begin().mask("Ask Ada.")
        assert len(names.asked) == asked


@pytest.mark.parametrize(
    "changed",
    [{"documents": {"PERSON": "off"}}, {"documents": {}, "originals": "none"}, {"allow": ["Ada"]}],
)
async def test_a_policy_that_masks_otherwise_makes_another_document(
    changed: dict[str, Any],
) -> None:
    one = await Masker(Names(), Kept(fjellvik=EVERYTHING)).documents(FJELLVIK)
    other = await Masker(Names(), Kept(fjellvik=EVERYTHING | changed)).documents(FJELLVIK)
    same = await Masker(Names(), Kept(fjellvik=EVERYTHING | {"user": {}})).documents(FJELLVIK)
    assert one is not None
    assert other is not None
    assert same is not None
    assert one.signed("x") == same.signed("x") != other.signed("x")


async def test_memory_does_not_grow_with_the_document() -> None:
    numbering = Numbering(2)
    given = [numbering.placeholder("PERSON", name) for name in ("Ada", "Bo", "Maria", "Ada")]
    assert given == ["<PERSON_1>", "<PERSON_2>", "<PERSON_3>", "<PERSON_4>"]
    assert numbering.values() == {"<PERSON_3>": "Maria", "<PERSON_4>": "Ada"}


_WORDS = st.lists(
    st.sampled_from(
        ["Ada", "Bo", "Maria", "<PERSON_1>", "[PERSON_2]", "<LITERAL_1>", "text", "&lt;"]
    ),
    max_size=8,
).map(" ".join)


@given(asked=_WORDS, texts=st.lists(_WORDS, max_size=3))
async def test_whatever_stands_in_question_and_documents_comes_back(
    asked: str, texts: list[str]
) -> None:
    passages = [await _masked(text, name=f"d{n}") for n, text in enumerate(texts)]
    assert [one.restored for one in passages] == texts
    request = await Masker(Names(), Kept()).mask(FJELLVIK, [asked], passages)
    seen = " ".join([*request.texts, *request.documents])
    assert not re.search("Ada|Bo|Maria", seen)
    assert request.vault.restore(FJELLVIK, request.texts[0]) == asked
    assert [request.vault.restore(FJELLVIK, one) for one in request.documents] == texts
