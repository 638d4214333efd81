"""A canary does not leave, wherever the stream is cut, and is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isolation.masking.canaries import REMOVED, CanaryGuard

CANARIES = ["abcab", "abcabd", "ca-77"]


def _guarded(pieces: list[str]) -> tuple[str, int]:
    tripped: list[None] = []
    guard = CanaryGuard(CANARIES, lambda: tripped.append(None))
    return "".join(map(guard.feed, pieces)) + guard.flush(), len(tripped)


def test_a_canary_is_removed_and_told() -> None:
    assert _guarded(["note ab", "cab", "d and ca", "-77."]) == (
        f"note {REMOVED} and {REMOVED}.",
        2,
    )
    assert _guarded(["abca is not one"]) == ("abca is not one", 0)


@given(st.lists(st.text("abcd-7 ", max_size=5), max_size=20))
def test_it_does_not_matter_where_a_stream_was_cut(pieces: list[str]) -> None:
    text, count = _guarded(pieces)
    assert (text, count) == _guarded(["".join(pieces)])
    assert not any(canary in text for canary in CANARIES if count == 0)
