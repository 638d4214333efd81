"""Tool calls and their results: masked as JSON, restored as JSON, guarded like an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.context import TenantContext
from isolation.errors import ContentBlockedError, CrossTenantError
from isolation.guard.links import LinkGuard
from isolation.masking.findings import Finding
from isolation.masking.json_stream import JsonStream
from isolation.masking.json_text import ToolText, json_text
from isolation.masking.masker import Masker
from isolation.masking.policy import MaskingPolicy
from isolation.masking.vault import RequestVault
from isolation.streaming import Chain
from isolation.testing.contexts import tenant_for_tests

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
NAME = 'Zoë "Z" O\\Neil\nJr'
CARD = "4111111111111111"


class Found:
    """An analyzer that finds a name and a card, wherever they stand as they are."""

    version = "1"

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        return [
            Finding(start, start + len(value), kind)
            for value, kind in ((NAME, "PERSON"), (CARD, "CREDIT_CARD"))
            for start in range(len(text))
            if text.startswith(value, start)
        ]


class Kept:
    def __init__(self, **policy: Any) -> None:
        self._policy = MaskingPolicy.model_validate(policy)

    async def of(self, ctx: TenantContext) -> MaskingPolicy:
        return self._policy


async def _masked(*texts: str | ToolText, **policy: Any) -> tuple[list[str], RequestVault]:
    masked = await Masker(Found(), Kept(**policy)).mask(FJELLVIK, texts)
    return masked.texts, masked.vault


def _restored(vault: RequestVault, written: str) -> str:
    stream = JsonStream(lambda: vault.argument(FJELLVIK))
    return "".join(map(stream.feed, written)) + stream.flush()


@pytest.mark.parametrize("ascii_only", [True, False])
async def test_a_value_is_found_however_json_escapes_it_and_json_stays_json(
    ascii_only: bool,
) -> None:
    arguments = {"to": f"Dear {NAME}!", "card": int(CARD), "deep": [{NAME: [1, None, True, -2.5]}]}
    written = json.dumps(arguments, ensure_ascii=ascii_only)
    (masked,), vault = await _masked(ToolText(written))
    assert json.loads(masked) == {
        "to": "Dear <PERSON_1>!",
        "card": "<CREDIT_CARD_1>",
        "deep": [{"<PERSON_1>": [1, None, True, -2.5]}],
    }
    assert json.loads(_restored(vault, masked)) == arguments | {"card": CARD}


async def test_a_text_that_is_no_json_is_masked_as_a_text() -> None:
    (masked, broken), _ = await _masked(ToolText(f"{NAME} paid"), ToolText(f'{{"a": {CARD}'))
    assert masked == "<PERSON_1> paid"
    assert broken == '{"a": <CREDIT_CARD_1>'


async def test_calls_results_and_turns_share_their_placeholders_in_the_conversations_order() -> (
    None
):
    call = ToolText(json.dumps({"of": NAME}))
    result = ToolText(json.dumps({"name": NAME, "card": CARD}))
    texts, _ = await _masked(f"I am {NAME}", call, result, f"My card is {CARD}")
    assert texts == [
        "I am <PERSON_1>",
        '{"of": "<PERSON_1>"}',
        '{"name": "<PERSON_1>", "card": "<CREDIT_CARD_1>"}',
        "My card is <CREDIT_CARD_1>",
    ]


async def test_what_looks_like_a_placeholder_in_a_result_is_not_restored_to_a_value() -> None:
    (_, masked), vault = await _masked(
        f"I am {NAME}", ToolText('{"note": "\\u003cPERSON_1\\u003e"}')
    )
    assert masked == '{"note": "<LITERAL_1>"}'
    assert json.loads(_restored(vault, masked)) == {"note": "<PERSON_1>"}


async def test_each_kind_is_masked_left_or_blocked_in_tools_as_the_policy_says() -> None:
    call = ToolText(json.dumps({"name": NAME, "card": CARD}))
    (text, masked), _ = await _masked(f"{NAME} {CARD}", call, tools={"PERSON": "off"})
    assert text == "<PERSON_1> <CREDIT_CARD_1>"
    assert json.loads(masked) == {"name": NAME, "card": "<CREDIT_CARD_1>"}
    with pytest.raises(ContentBlockedError) as refused:
        await _masked(call, tools={"CREDIT_CARD": "block"})
    assert CARD not in refused.value.message


async def test_a_kind_that_is_blocked_in_tools_is_restored_in_texts_and_in_no_call() -> None:
    (text,), vault = await _masked(f"{NAME} {CARD}", tools={"CREDIT_CARD": "block"})
    assert vault.restore(FJELLVIK, text) == f"{NAME} {CARD}"
    call = json.dumps({"name": "<PERSON_1>", "card": "<CREDIT_CARD_1>"})
    assert json.loads(_restored(vault, call)) == {"name": NAME, "card": "<CREDIT_CARD_1>"}


async def test_another_conversations_or_tenants_placeholder_is_not_restored_in_arguments() -> None:
    _, mine = await _masked(f"I am {NAME}")
    _, theirs = await _masked("I am nobody")
    call = '{"to": "<PERSON_1>"}'
    assert json.loads(_restored(mine, call)) == {"to": NAME}
    assert _restored(theirs, call) == call
    with pytest.raises(CrossTenantError):
        mine.argument(VOLTBAY)


_URL = "https://collect.example/?q=secret"


@pytest.mark.parametrize(
    "written",
    [
        json.dumps({"url": _URL}),
        json.dumps({"url": _URL}).replace("/", "\\/"),
        json.dumps({"url": _URL}).replace("https", "\\u0068ttps").replace("/", "\\u002f"),
        json.dumps({_URL: 1}),
        f"{{'url': '{_URL}'}}",
        _URL,
    ],
)
def test_a_link_leaves_in_no_argument_however_it_is_written(written: str) -> None:
    guard = LinkGuard(frozenset({"shop.example"}))
    for size in (1, 7, len(written)):
        stream = JsonStream(guard.stream)
        pieces = [written[n : n + size] for n in range(0, len(written), size)]
        out = "".join(map(stream.feed, pieces)) + stream.flush()
        assert "collect.example" not in out.replace("\\", "")
    stream = JsonStream(guard.stream)
    allowed = '{"url": "https://shop.example/a"}'
    assert stream.feed(allowed) + stream.flush() == allowed


async def test_foreign_data_and_canaries_leave_in_no_argument() -> None:
    _, vault = await _masked("Hello", canaries=["internal-note-7"])
    foreign = '"bo\\u0040example.com"', '"internal\\u002dnote-7"', CARD
    call = '{{"a": {}, "b": {}, "c": {}, "d": 12}}'.format(*foreign)
    assert json.loads(_restored(vault, call)) == {
        "a": "[removed]",
        "b": "[removed]",
        "c": "[removed]",
        "d": 12,
    }
    assert vault.tripped == 1


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=10,
)


@given(_JSON, st.booleans(), st.lists(st.integers(0, 300), max_size=8))
def test_what_nothing_changes_means_the_same_wherever_it_was_cut(
    value: object, ascii_only: bool, cuts: list[int]
) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only)
    stream, out, position = JsonStream(lambda: Chain([])), [], 0
    for cut in [*sorted(cut for cut in cuts if cut < len(written)), len(written)]:
        out.append(stream.feed(written[position:cut]))
        position = cut
    assert json.loads("".join([*out, stream.flush()])) == value


@given(st.text(alphabet='{}[]:,"\\u0dD8eE-1 a\n', max_size=60), st.lists(st.integers(0, 60)))
def test_whatever_a_model_writes_comes_out_alike_however_it_is_cut(
    written: str, cuts: list[int]
) -> None:
    def streamed(*ends: int) -> str:
        stream, out, position = JsonStream(lambda: Chain([])), [], 0
        for end in [*ends, len(written)]:
            out.append(stream.feed(written[position:end]))
            position = end
        return "".join([*out, stream.flush()])

    assert streamed(*sorted(cut for cut in cuts if cut < len(written))) == streamed()


@given(st.one_of(st.lists(_JSON), st.dictionaries(st.text(), _JSON)), st.booleans())
def test_json_is_read_as_it_is_meant(value: object, ascii_only: bool) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only)
    read = json_text(written)
    assert read is not None
    if ascii_only is False and "\\" not in written:
        assert read.plain == written
