"""Whatever is masked comes back as it was, whole or in pieces, and nothing else comes back."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.masking.entities import ENTITIES
from isolation.masking.findings import Finding, without_overlaps
from isolation.masking.placeholders import Literals, Numbering, joined
from isolation.masking.vault import RequestVault
from isolation.testing.contexts import tenant_for_tests

FJELLVIK = tenant_for_tests("fjellvik")
LITERALS = Literals(ENTITIES)
# Pieces that placeholders are made of, between any text: collisions are likely.
_PIECES = st.sampled_from(
    [
        "<",
        ">",
        "[",
        "]",
        "\\",
        "&lt;",
        "&gt;",
        "_",
        "1",
        "2",
        "12",
        "PERSON_1",
        "<PERSON_1>",
        "person",
        "<person",
        "1>",
        "[EMAIL_ADDRESS_2]",
        "PERSON\\_1",
        "EMAIL",
        "ADDRESS",
        "\\<PERSON_1\\>",
        "LITERAL_1",
        "<LITERAL_1>",
        "PERSON_",
        "US_SSN_1",
        "a",
        "é",
        "\u200b",
    ]
)
_TEXTS = st.lists(st.one_of(_PIECES, st.text(max_size=6)), max_size=12).map("".join)


@st.composite
def _conversations(draw: st.DrawFn) -> tuple[str, list[Finding], list[int]]:
    """A text, what is found in it, and where its answer is cut."""
    text = draw(_TEXTS)
    ends = st.integers(0, len(text))
    spans = draw(st.lists(st.tuples(ends, ends, st.sampled_from(ENTITIES[:4])), max_size=5))
    findings = [Finding(min(a, b), max(a, b), kind) for a, b, kind in spans if a != b]
    return text, findings, draw(st.lists(st.integers(0, 400), max_size=12))


def _masked(text: str, findings: list[Finding]) -> tuple[str, dict[str, str]]:
    numbering, out, position = Numbering(), [], 0
    for found in joined(LITERALS.find(text), without_overlaps(findings)):
        out.append(text[position : found.start])
        out.append(numbering.placeholder(found.entity, text[found.start : found.end]))
        position = found.end
    return "".join([*out, text[position:]]), numbering.values()


def _streamed(vault: RequestVault, text: str, cuts: list[int]) -> str:
    stream = vault.stream(FJELLVIK)
    out, position, fed = [], 0, 0
    for cut in [*sorted(cut for cut in cuts if cut < len(text)), len(text)]:
        out.append(stream.feed(text[position:cut]))
        position, fed = cut, cut
        assert len(stream._held) <= stream.longest, fed
    return "".join([*out, stream.flush()])


@given(_conversations())
def test_what_comes_back_equals_what_went_in(case: tuple[str, list[Finding], list[int]]) -> None:
    text, findings, cuts = case
    masked, values = _masked(text, findings)
    vault = RequestVault(FJELLVIK, values)
    assert vault.restore(FJELLVIK, masked) == text
    assert _streamed(vault, masked, cuts) == text


@given(_conversations())
def test_upstream_sees_no_found_value(case: tuple[str, list[Finding], list[int]]) -> None:
    text, findings, _ = case
    masked, values = _masked(text, findings)
    outside = re.sub(r"<[A-Z_]+_[0-9]+>", "", masked)
    kept = len(text) - sum(len(value) * masked.count(name) for name, value in values.items())
    assert len(outside) == kept


@given(_TEXTS, st.lists(st.integers(0, 100), max_size=12))
def test_any_answer_is_restored_alike_however_it_is_cut(answer: str, cuts: list[int]) -> None:
    vault = RequestVault(
        FJELLVIK, {"<PERSON_1>": "Ada", "<EMAIL_ADDRESS_2>": "a@b", "<LITERAL_1>": "x"}
    )
    assert _streamed(vault, answer, cuts) == vault.restore(FJELLVIK, answer)


@pytest.mark.parametrize(
    "written",
    [
        "<PERSON_1>",
        "<person_1>",
        "< PERSON_1 >",
        "<Person 1>",
        "[PERSON_1]",
        "PERSON_1",
        "PERSON\\_1",
        "\\<PERSON\\_1\\>",
        "&lt;PERSON_1&gt;",
    ],
)
def test_a_small_deformation_is_understood(written: str) -> None:
    vault = RequestVault(FJELLVIK, {"<PERSON_1>": "Ada", "<PERSON_12>": "Bo"})
    assert vault.restore(FJELLVIK, f"Dear {written}, hello") == "Dear Ada, hello"
    assert vault.restore(FJELLVIK, written) == "Ada"
    typed = f"Am I {written}?"
    assert [typed[f.start : f.end] for f in LITERALS.find(typed)] == [written]


@pytest.mark.parametrize(
    "written",
    [
        "<PERSON_2>",
        "<PERSON_01>",
        "PERSON_11",
        "PERSON_1a",
        "xPERSON_1",
        "person_1",
        "Person 1",
    ],
)
def test_what_may_mean_something_else_stays(written: str) -> None:
    vault = RequestVault(FJELLVIK, {"<PERSON_1>": "Ada"})
    assert vault.restore(FJELLVIK, written) == written


def test_values_are_escaped_in_a_tool_calls_arguments() -> None:
    vault = RequestVault(FJELLVIK, {"<PERSON_1>": 'Ada "the\n1st"\\'})
    arguments = json.dumps({"to": "<PERSON_1>", "cc": ["<PERSON_1>"]})
    stream = vault.json_stream(FJELLVIK)
    restored = "".join(map(stream.feed, arguments)) + stream.flush()
    assert json.loads(restored) == {"to": 'Ada "the\n1st"\\', "cc": ['Ada "the\n1st"\\']}


def test_another_conversations_placeholder_is_not_resolved() -> None:
    mine = RequestVault(FJELLVIK, {"<PERSON_1>": "Ada"})
    theirs = RequestVault(FJELLVIK, {"<EMAIL_ADDRESS_1>": "bo@example.com"})
    assert "bo@" not in mine.restore(FJELLVIK, "<EMAIL_ADDRESS_1>")
    assert "Ada" not in theirs.restore(FJELLVIK, "<PERSON_1>")
