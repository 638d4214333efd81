"""A prefix that the operator shares with all: everybody hits it, and nothing else of anybody."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from isolation.errors import UnmintedContextError
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.prompt import Message, lay_out
from serving.control.public_prefixes import PublicPrefixRecords, SharedText
from serving.embedded.public_prefixes import PublicPrefixes
from serving.engine.client import EngineClient
from serving.engine.public import EnginePublic, PublicPrefix
from serving.engine.tokens import TokenizerCounter
from serving.engine_plugin.identity import PUBLIC_NAMESPACE
from serving.errors import PublicPrefixRefusedError
from serving.gateway.prompt_form import PromptForm
from serving.gateway.shared_beginning import shared_beginning
from tests.databases import fresh_database
from tests.engine.wire import Wire, new_namespace

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

OPERATOR = operator_for_tests()
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find_order",
            "description": "Finds a customer's order by its number, with its state and carrier.",
            "parameters": {"type": "object", "properties": {"number": {"type": "string"}}},
        },
    }
]
_ROUTES = ["POST /bulkhead/v1/public", "POST /bulkhead/v1/public/measure"]


@pytest.fixture
def wire(engine: EngineClient) -> Wire:
    return Wire(engine)


@pytest.fixture
def tokens(tiny_model: Path) -> TokenizerCounter:
    return TokenizerCounter(tiny_model)


@pytest_asyncio.fixture(loop_scope="session")
async def prefixes(
    engine: EngineClient, tokens: TokenizerCounter, tmp_path: Path
) -> AsyncGenerator[PublicPrefixes, None]:
    """As a gateway has them. Nothing is public in the engine before and after."""
    await EnginePublic(engine).flush(OPERATOR)
    database = await fresh_database(tmp_path / "bulkhead.db")
    yield PublicPrefixes(PublicPrefixRecords(database), lambda: engine, lambda: tokens)
    await database.close()
    await EnginePublic(engine).flush(OPERATOR)


def _rules(words: int = 90) -> str:
    return "House rules: " + " ".join(secrets.token_hex(2) for _ in range(words))


def _chat(tokens: TokenizerCounter, rules: str, question: str) -> list[dict[str, Any]]:
    """The messages that the engine gets of a tenant's chat."""
    form = PromptForm(tokens, list(TOOLS))
    turns = [Message("system", rules), Message("user", question)]
    return form.messages(lay_out(turns, ["Tents weigh 2 kg."], system=form.system))


async def _ask(wire: Wire, messages: Any, namespace: str, account: str) -> tuple[int, str]:
    """Cached tokens, and the answer."""
    body = wire.body(messages=messages, cache_salt=namespace, max_tokens=8, tools=TOOLS)
    status, answer = await wire.chat(body, account=account * 32)
    assert status == 200
    usage = answer["usage"]["prompt_tokens_details"]
    return usage["cached_tokens"], answer["choices"][0]["message"]["content"]


async def test_a_new_tenants_first_turn_hits_the_whole_prefix_and_no_further(
    wire: Wire, prefixes: PublicPrefixes, tokens: TokenizerCounter
) -> None:
    rules = _rules()
    question = _chat(tokens, rules, "Which tents are waterproof? " * 9)
    cached, answered = await _ask(wire, question, new_namespace(), "a")
    assert cached < 32  # before it is published
    listed = await prefixes.publish(OPERATOR, "house", SharedText(rules, tuple(TOOLS)))
    public = listed.length
    assert listed.state == "published"
    assert public is not None
    assert public > 450  # the platform's text, the rules and the tools
    one, two = new_namespace(), new_namespace()
    for namespace, name in ((one, "b"), (two, "c")):
        # Two asked the same before: none of it is hit, but what the operator shared.
        assert await _ask(wire, question, namespace, name) == (public, answered)
    # The control: its own question is hit by the tenant that asked it, and beyond the public part.
    assert (await _ask(wire, question, one, "b"))[0] > public + 30
    # The leaky twin: had the engine been told to share the question, the same look would see it.
    leak = PublicPrefix(question, TOOLS)
    await EnginePublic(wire.engine).publish(OPERATOR, leak)
    assert (await _ask(wire, question, new_namespace(), "d"))[0] > public + 30


async def test_what_a_flush_took_is_published_again(
    wire: Wire, prefixes: PublicPrefixes, tokens: TokenizerCounter
) -> None:
    rules = _rules()
    question = _chat(tokens, rules, "Which tents are light?")
    public = (await prefixes.publish(OPERATOR, "house", SharedText(rules, tuple(TOOLS)))).length
    await wire.flush()
    assert (await _ask(wire, question, new_namespace(), "a"))[0] == 0
    ((listed,), _) = await prefixes.list(OPERATOR)
    assert listed.state == "waiting"
    await prefixes.keep(OPERATOR)
    assert (await _ask(wire, question, new_namespace(), "b"))[0] == public
    ((listed,), there) = await prefixes.list(OPERATOR)
    assert listed.state == "published"
    assert there is not None
    assert there.tokens == public


async def test_what_is_withdrawn_now_is_hit_no_more_and_what_is_left_is(
    wire: Wire, prefixes: PublicPrefixes, tokens: TokenizerCounter
) -> None:
    kept, gone = _rules(), _rules()
    await prefixes.publish(OPERATOR, "kept", SharedText(kept, tuple(TOOLS)))
    await prefixes.publish(OPERATOR, "gone", SharedText(gone, tuple(TOOLS)))
    await prefixes.withdraw(OPERATOR, "gone", now=True)
    left = (await _ask(wire, _chat(tokens, kept, "Hello?"), new_namespace(), "a"))[0]
    assert left > 400
    # The platform's own text, with which both begin.
    assert (await _ask(wire, _chat(tokens, gone, "Hello?"), new_namespace(), "b"))[0] < 120


async def test_what_leaves_no_room_for_tenants_is_refused_and_not_kept(
    engine: EngineClient, prefixes: PublicPrefixes
) -> None:
    with pytest.raises(PublicPrefixRefusedError) as refused:
        await prefixes.publish(OPERATOR, "long", SharedText(_rules(2_000)))
    assert "room for 4096 more public tokens" in refused.value.message
    assert (await prefixes.list(OPERATOR))[0] == []
    engine_state = await EnginePublic(engine).state(OPERATOR)
    assert (engine_state.tokens, engine_state.room) == (0, 4096)


@pytest.mark.parametrize("route", [*_ROUTES, "GET /bulkhead/v1/public"])
async def test_no_tenant_reaches_the_public_part(wire: Wire, route: str) -> None:
    body = orjson.dumps({"messages": [{"role": "system", "content": _rules()}]})
    status, _ = await wire.send(route, body, wire.signed(wire.claims(body, route=route)))
    assert status == 403


async def test_no_tenant_names_the_public_namespace(wire: Wire) -> None:
    status, answer = await wire.chat(wire.body(cache_salt=PUBLIC_NAMESPACE))
    assert status != 200
    assert "proof_inconsistent" in orjson.dumps(answer).decode()


async def test_only_an_operator_publishes(engine: EngineClient) -> None:
    prefix = PublicPrefix([{"role": "system", "content": "Rules"}])
    for work in (EnginePublic(engine).publish, EnginePublic(engine).measure):
        with pytest.raises(UnmintedContextError):
            await work(tenant_for_tests("fjellvik"), prefix)  # type: ignore[arg-type]


@pytest.mark.parametrize("route", _ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": [{"role": "system"}]},
        {"messages": [{"role": "system", "content": "a"}], "tools": [{"type": "function"}]},
        {"messages": [{"role": "system", "content": "a"}], "cache_salt": "a"},
    ],
)
async def test_a_prefix_that_is_no_conversation_is_refused(
    wire: Wire, body: dict[str, Any], route: str
) -> None:
    assert (await wire.open(route, body))[0] == 403


async def test_an_operators_prefix_is_laid_out_as_chats_are(tokens: TokenizerCounter) -> None:
    rules = _rules()
    shared = shared_beginning(tokens, rules, TOOLS)
    assert list(shared.messages) == _chat(tokens, rules, "Hello?")[:1]
