"""What was in nothing the request was given does not leave, wherever the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.errors import AnswerBlockedError
from isolation.masking.given import Given
from isolation.masking.output import KINDS, LONGEST, REMOVED, ForeignDataGuard

GIVEN = ["I am ada@example.com, call +47 22 12 34 56", "Refund to DE89 3704 0044 0532 0130 00."]
FOREIGN = [
    "bo@example.org",
    "DE02120300000000202051",
    "DE02 1203 0000 0000 2020 51",
    "4111 1111 1111 1111",
    "5500000000000004",
    "078-05-1120",
    "+44 20 7946 0958",
]
OWN = ["ada@example.com", "ADA@example.com", "+4722123456", "DE89370400440532013000"]
ORDINARY = ["within 30 days", "item 9523456873", "2026-11-25", "1,299.00 EUR", "24 hours, 7 days"]


def _guarded(text: str, cuts: list[int] | None = None) -> str:
    guard = ForeignDataGuard(Given(GIVEN), KINDS)
    out, position = [], 0
    for cut in [*sorted(cut for cut in cuts or [] if cut < len(text)), len(text)]:
        out.append(guard.feed(text[position:cut]))
        position = cut
        assert len(guard._held) <= LONGEST
    return "".join([*out, guard.flush()])


@pytest.mark.parametrize("value", FOREIGN)
def test_foreign_data_is_removed(value: str) -> None:
    assert _guarded(f"Write to {value}, please. **{value}**") == (
        f"Write to {REMOVED}, please. **{REMOVED}**"
    )


@pytest.mark.parametrize("value", [*OWN, *ORDINARY])
def test_what_was_given_and_what_is_ordinary_stays(value: str) -> None:
    assert _guarded(f"It is {value}.\nYes, {value}") == f"It is {value}.\nYes, {value}"


_ANSWERS = st.lists(
    st.one_of(
        st.sampled_from([*FOREIGN, *OWN, *ORDINARY, " ", "\n", "x" * 80]), st.text(max_size=8)
    )
).map(" ".join)


@given(_ANSWERS, st.lists(st.integers(0, 300), max_size=10))
def test_it_does_not_matter_where_a_stream_was_cut(answer: str, cuts: list[int]) -> None:
    assert _guarded(answer, cuts) == _guarded(answer)


@pytest.mark.parametrize("cut", [0, 12, 20, 25])
def test_a_kind_that_is_blocked_ends_the_answer_before_it(cut: int) -> None:
    answer = "Write to 4111 1111 1111 1111 or bo@example.org."
    guard = ForeignDataGuard(Given(GIVEN), ["EMAIL_ADDRESS"], ["CREDIT_CARD"])
    left = guard.feed(answer[:cut])
    with pytest.raises(AnswerBlockedError) as blocked:
        left += guard.feed(answer[cut:]) + guard.flush()
    assert "4111" not in left + str(blocked.value)
    allowed = ForeignDataGuard(Given(["4111111111111111"]), [], ["CREDIT_CARD"])
    assert allowed.feed(answer) + allowed.flush() == answer


def test_a_kind_that_the_policy_leaves_is_left() -> None:
    guard = ForeignDataGuard(Given(), ["US_SSN"])
    assert guard.feed("bo@example.org 078-05-1120") + guard.flush() == f"bo@example.org {REMOVED}"
    nothing = ForeignDataGuard(Given(), [])
    assert nothing.feed("078-05-1120") == "078-05-1120"
