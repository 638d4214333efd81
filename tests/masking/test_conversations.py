"""Conversation tokens: who resolves an answer's placeholders, and who does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.access import restricted_to
from isolation.errors import CrossTenantError, RestrictedKeyError
from isolation.masking.conversations import (
    ConversationTokenExpiredError,
    ConversationTokens,
    InvalidConversationTokenError,
    PlaceholderNotFoundError,
)
from isolation.masking.vault import RequestVault
from isolation.testing.contexts import tenant_for_tests
from tests.gateway.fakes import OwnKeys

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
SUPPORT = tenant_for_tests("fjellvik", access=restricted_to(["support"]))
TOKENS = ConversationTokens(OwnKeys())
VALUES = {"<PERSON_1>": "Ada Lind", "<STREET_ADDRESS_1>": "1 Elm Street"}
VAULT = RequestVault(FJELLVIK, VALUES)


async def test_a_downstream_system_resolves_what_it_was_given() -> None:
    given = await VAULT.conversation(FJELLVIK, TOKENS, "c1")
    asked = ["<STREET_ADDRESS_1>", "<PERSON_1>"]
    assert await TOKENS.resolve(FJELLVIK, "c1", given.token, asked) == ["1 Elm Street", "Ada Lind"]
    assert "Ada" not in given.token
    assert given.token not in repr(given)


async def test_nobody_else_does() -> None:
    given = await VAULT.conversation(FJELLVIK, TOKENS, "c1")
    for ctx, conversation in ((VOLTBAY, "c1"), (FJELLVIK, "c2")):
        with pytest.raises(InvalidConversationTokenError):
            await TOKENS.resolve(ctx, conversation, given.token, ["<PERSON_1>"])
    with pytest.raises(RestrictedKeyError):
        await TOKENS.resolve(SUPPORT, "c1", given.token, ["<PERSON_1>"])
    with pytest.raises(CrossTenantError):
        await VAULT.conversation(VOLTBAY, TOKENS, "c1")


async def test_it_ends() -> None:
    tokens = ConversationTokens(OwnKeys(), seconds=0)
    given = await tokens.issue(FJELLVIK, "c1", VALUES)
    with pytest.raises(ConversationTokenExpiredError):
        await tokens.resolve(FJELLVIK, "c1", given.token, ["<PERSON_1>"])


async def test_one_placeholder_that_is_not_there_resolves_none() -> None:
    given = await TOKENS.issue(FJELLVIK, "c1", VALUES)
    with pytest.raises(PlaceholderNotFoundError) as refused:
        await TOKENS.resolve(FJELLVIK, "c1", given.token, ["<PERSON_1>", "<PERSON_2>"])
    assert "Ada" not in str(refused.value)


@given(st.integers(0, 10_000), st.characters(max_codepoint=300))
async def test_a_token_that_was_changed_opens_nothing(place: int, char: str) -> None:
    given = await TOKENS.issue(FJELLVIK, "c1", VALUES)
    place %= len(given.token)
    changed = given.token[:place] + char + given.token[place + 1 :]
    if changed != given.token:
        with pytest.raises(InvalidConversationTokenError):
            await TOKENS.resolve(FJELLVIK, "c1", changed, ["<PERSON_1>"])


@given(st.text(max_size=200))
async def test_no_text_is_a_token_by_chance(text: str) -> None:
    for token in (text, f"ct1.{text}"):
        with pytest.raises(InvalidConversationTokenError):
            await TOKENS.resolve(FJELLVIK, "c1", token, ["<PERSON_1>"])
