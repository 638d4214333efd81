"""A tenant's masking policy: what it masks, lets pass, blocks and refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from isolation.context import TenantContext
from isolation.errors import ContentBlockedError
from isolation.masking.findings import Finding
from isolation.masking.masker import Masker
from isolation.masking.policy import Action, Direction, MaskingPolicy
from isolation.testing.contexts import tenant_for_tests

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
CARD = "4111111111111111"
TEXT = f"Ada wants the Jotun 4, card {CARD}, member FV-1234"
LOYALTY = {"name": "LOYALTY_NUMBER", "expression": r"\bFV-\d{4}\b"}


class Found:
    """An analyzer that finds what it is told."""

    version = "1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def find(self, text: str, locale: str | None) -> list[Finding]:
        self.asked.append(text)
        kinds = {"Ada": "PERSON", "Jotun 4": "PERSON", CARD: "CREDIT_CARD"}
        return [
            Finding(text.index(value), text.index(value) + len(value), kind)
            for value, kind in kinds.items()
            if value in text
        ]


class Kept:
    """Policies by tenant."""

    def __init__(self, **policies: dict[str, Any]) -> None:
        self._policies = {k: MaskingPolicy.model_validate(v) for k, v in policies.items()}

    async def of(self, ctx: TenantContext) -> MaskingPolicy:
        return self._policies.get(ctx.tenant_id, MaskingPolicy())


async def _masked(policy: dict[str, Any], *documents: str) -> tuple[list[str], list[str]]:
    masked = await Masker(Found(), Kept(fjellvik=policy)).mask(FJELLVIK, [TEXT], documents)
    return masked.texts, masked.documents


async def test_each_kind_is_masked_or_left_as_the_policy_says() -> None:
    policy = {"user": {"PERSON": "off"}, "allow": ["jotun 4"], "patterns": [LOYALTY]}
    (text,), _ = await _masked(policy)
    assert text == "Ada wants the Jotun 4, card <CREDIT_CARD_1>, member <LOYALTY_NUMBER_1>"
    (text,), _ = await _masked({"allow": ["JOTUN 4"]})
    assert text == "<PERSON_1> wants the Jotun 4, card <CREDIT_CARD_1>, member FV-1234"


async def test_a_blocked_kind_refuses_the_request_without_showing_it() -> None:
    with pytest.raises(ContentBlockedError) as refused:
        await _masked({"user": {"CREDIT_CARD": "block"}})
    assert refused.value.code == "content_blocked"
    assert refused.value.status == 400
    assert "CREDIT_CARD" in refused.value.message
    assert CARD not in refused.value.message


async def test_one_tenants_policy_is_not_anothers() -> None:
    masker = Masker(Found(), Kept(fjellvik={"user": {"default": "off"}}))
    assert (await masker.mask(FJELLVIK, [TEXT])).texts == [TEXT]
    assert CARD not in (await masker.mask(VOLTBAY, [TEXT])).texts[0]


async def test_documents_are_masked_where_the_policy_says_and_numbered_into_the_request() -> None:
    document = f"Ask Ada. Paid with {CARD}."
    _, (left,) = await _masked({}, document)
    assert left == document
    (text,), (masked,) = await _masked({"documents": {}}, document)
    assert text.startswith("<PERSON_1> ")
    assert masked == "Ask <PERSON_1>. Paid with <CREDIT_CARD_1>."


async def test_an_answer_holds_what_the_request_was_given_and_nothing_foreign() -> None:
    policy = {"canaries": ["internal-note-7"]}
    masker = Masker(Found(), Kept(fjellvik=policy, voltbay={"output": {"default": "off"}}))
    asked, passage = f"Ada, {CARD}", "Write to help@fjellvik.example."
    answer = "<PERSON_1>: <CREDIT_CARD_1>, help@fjellvik.example or bo@example.com, internal-note-7"
    outgoing = (await masker.mask(FJELLVIK, [asked], [passage])).vault
    stream = outgoing.answer(FJELLVIK)
    assert "".join(map(stream.feed, answer)) + stream.flush() == (
        f"Ada: {CARD}, help@fjellvik.example or [removed], [removed]"
    )
    assert outgoing.tripped == 1
    assert outgoing.clean("see internal-note-7") == "see [removed]"
    stream = (await masker.mask(VOLTBAY, [asked])).vault.answer(VOLTBAY)
    assert stream.feed("bo@example.com ") + stream.flush() == "bo@example.com "


async def test_a_typed_look_alike_of_an_own_pattern_comes_back_as_typed() -> None:
    masker = Masker(Found(), Kept(fjellvik={"patterns": [LOYALTY]}))
    typed = "FV-1234 or <LOYALTY_NUMBER_1>?"
    masked = await masker.mask(FJELLVIK, [typed])
    assert masked.texts == ["<LOYALTY_NUMBER_1> or <LITERAL_1>?"]
    assert masked.vault.restore(FJELLVIK, masked.texts[0]) == typed


def test_the_standard_policy_masks_questions_and_answers() -> None:
    policy = MaskingPolicy()
    assert policy.action(Direction.user, "PERSON") is Action.mask
    assert policy.action(Direction.output, "CREDIT_CARD") is Action.mask
    assert not policy.acts(Direction.documents)


@pytest.mark.parametrize(
    "expression", ["(a+)+b(?=c)", r"(x)\1", "((", "a*", ".*", r"\w+", "x{1,1000}{1,1000}"]
)
def test_a_pattern_that_is_not_safe_is_refused(expression: str) -> None:
    with pytest.raises(ValidationError):
        MaskingPolicy.model_validate({"patterns": [{"name": "OWN_ID", "expression": expression}]})


def test_a_catastrophic_pattern_is_harmless() -> None:
    policy = MaskingPolicy.model_validate(
        {"patterns": [{"name": "OWN_ID", "expression": "(a+)+b-[0-9]"}]}
    )
    assert policy.judged(Direction.user, "a" * 50_000, []) == []


@pytest.mark.parametrize(
    "policy",
    [
        {"user": {"NO_SUCH_KIND": "mask"}},
        {"user": {"PERSON": "hide"}},
        {"tools": {"NO_SUCH_KIND": "mask"}},
        {"tool_links": "sometimes"},
        {"output": {"ORDER_NUMBER": "block"}},
        {"canaries": ["short"]},
        {"locale": "norway"},
        {"patterns": [LOYALTY, LOYALTY]},
        {"patterns": [{"name": "PERSON", "expression": "FV-[0-9]+"}]},
        {"patterns": [{"name": "loyalty", "expression": "FV-[0-9]+"}]},
    ],
)
def test_what_means_nothing_is_refused(policy: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MaskingPolicy.model_validate(policy)
