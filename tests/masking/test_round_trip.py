"""Whatever is masked comes back as it was, whole or in pieces, and nothing else comes back."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.masking.entities import ENTITIES
from isolation.masking.findings import Finding, without_overlaps
from isolation.masking.given import Given
from isolation.masking.json_stream import LONGEST_BARE, LONGEST_ESCAPE, JsonStream
from isolation.masking.output import KINDS, LONGEST
from isolation.masking.placeholders import Literals, Numbering, joined
from isolation.masking.vault import Outgoing, RequestVault
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
        "\\u003cPERSON_1\\u003e",
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
    stream = JsonStream(lambda: vault.argument(FJELLVIK))
    restored = "".join(map(stream.feed, arguments)) + stream.flush()
    assert json.loads(restored) == {"to": 'Ada "the\n1st"\\', "cc": ['Ada "the\n1st"\\']}


# How a model may write a placeholder, of one kind and number.
_DEFORMED = (
    "<{0}_{1}>",
    "[{0}_{1}]",
    "< {0}_{1} >",
    "\\<{0}_{1}\\>",
    "\\[{0}_{1}\\]",
    "&lt;{0}_{1}&gt;",
    "\\u003c{0}_{1}\\u003e",
)
_KINDS = st.sampled_from(ENTITIES)
_NAMES = st.tuples(_KINDS, st.integers(1, 30))
_TABLES = st.dictionaries(_NAMES, st.text(max_size=12), min_size=1, max_size=8)
_CUTS = st.lists(st.integers(0, 400), max_size=12)


@st.composite
def _answers(draw: st.DrawFn) -> tuple[dict[str, str], str, str]:
    """A table, an answer that writes its placeholders in any way and order, among others that it
    does not hold, and the answer with their values."""
    table = draw(_TABLES)
    asked = draw(st.lists(st.one_of(st.sampled_from(sorted(table)), _NAMES), max_size=8))
    written, meant = [], []
    for kind, number in asked:
        form = draw(st.sampled_from(_DEFORMED))
        case = draw(st.sampled_from([str.upper, str.lower, str.title]))
        gap = draw(st.sampled_from([" ", ", ", ".", "\n", " and ", "(", "é"]))
        text = form.format(case(kind), number)
        written.append(text + gap)
        meant.append(table.get((kind, number), text) + gap)
    values = {f"<{kind}_{number}>": value for (kind, number), value in table.items()}
    return values, "".join(written), "".join(meant)


@given(_answers(), _CUTS)
def test_however_a_model_writes_it_the_right_value_comes_back_or_none(
    case: tuple[dict[str, str], str, str], cuts: list[int]
) -> None:
    values, written, meant = case
    assert _streamed(RequestVault(FJELLVIK, values), written, cuts) == meant


_ARGUMENTS = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(alphabet="abc {}:,'", max_size=5), _NAMES),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.just("k"), inner)),
    max_leaves=8,
)


def _with(arguments: object, table: dict[tuple[str, int], str] | None) -> object:
    """Tool arguments with placeholders, or with their values."""
    if isinstance(arguments, tuple):
        name = f"<{arguments[0]}_{arguments[1]}>"
        return f"to {name if table is None else table.get(arguments, name)}"
    if isinstance(arguments, list):
        return [_with(one, table) for one in arguments]
    if isinstance(arguments, dict):
        return {name: _with(one, table) for name, one in arguments.items()}
    return arguments


@given(_TABLES, _ARGUMENTS, _CUTS, st.booleans())
def test_a_tool_calls_arguments_stay_json_whatever_the_values_hold(
    table: dict[tuple[str, int], str], arguments: object, cuts: list[int], escaped: bool
) -> None:
    values = {f"<{kind}_{number}>": value for (kind, number), value in table.items()}
    written = json.dumps(_with(arguments, None))
    if escaped:
        written = written.replace("<", "\\u003c").replace(">", "\\u003e")
    vault = RequestVault(FJELLVIK, values)
    stream, out, position = JsonStream(lambda: vault.argument(FJELLVIK)), [], 0
    for cut in [*sorted(cut for cut in cuts if cut < len(written)), len(written)]:
        out.append(stream.feed(written[position:cut]))
        position = cut
    assert json.loads("".join([*out, stream.flush()])) == _with(arguments, table)


@given(_ARGUMENTS)
def test_of_a_tool_calls_arguments_no_more_is_held_back_than_a_placeholder(
    arguments: object,
) -> None:
    """Of arguments in which nothing is replaced."""
    written = json.dumps(_with(arguments, None), ensure_ascii=False).replace("_", "")
    # A number may be a card's by chance.
    outgoing = Outgoing(Given((written,)), frozenset(KINDS))
    vault = RequestVault(FJELLVIK, {"<PERSON_1>": "Ada"}, outgoing)
    longest = vault.stream(FJELLVIK).longest + LONGEST + LONGEST_BARE + LONGEST_ESCAPE
    stream, fed, out = JsonStream(lambda: vault.argument(FJELLVIK)), 0, ""
    for char in written:
        fed, out = fed + 1, out + stream.feed(char)
        assert fed - len(out) <= longest
    assert out + stream.flush() == written


@given(_TEXTS, _TABLES)
def test_no_stage_holds_back_more_than_it_may(
    answer: str, table: dict[tuple[str, int], str]
) -> None:
    """Of an answer in which nothing is replaced: what is missing at any moment is held back."""
    values = {f"<{kind}_{number}>": value for (kind, number), value in table.items()}
    canary = "internal-note-7"
    outgoing = Outgoing(Given((answer,)), frozenset(KINDS), frozenset({canary}))
    vault = RequestVault(FJELLVIK, values, outgoing)
    plain = answer.replace("_", "-")
    stream, fed, emitted = vault.answer(FJELLVIK), 0, 0
    longest = vault.stream(FJELLVIK).longest + LONGEST + len(canary)
    if vault.restore(FJELLVIK, plain) != plain:
        return
    for char in plain:
        fed, emitted = fed + 1, emitted + len(stream.feed(char))
        assert fed - emitted <= longest
    assert emitted + len(stream.flush()) == fed


def test_another_conversations_placeholder_is_not_resolved() -> None:
    mine = RequestVault(FJELLVIK, {"<PERSON_1>": "Ada"})
    theirs = RequestVault(FJELLVIK, {"<EMAIL_ADDRESS_1>": "bo@example.com"})
    assert "bo@" not in mine.restore(FJELLVIK, "<EMAIL_ADDRESS_1>")
    assert "Ada" not in theirs.restore(FJELLVIK, "<PERSON_1>")
