"""Tool calls over HTTP with the official client, and what the engine is shown of them."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import httpx
import openai
import pytest

from serving.embedded import gateway
from serving.gateway.chat_parts import ChatOptions
from serving.gateway.tools import Tool, check_tools
from serving.settings import Settings
from tests.gateway import fakes
from tests.gateway.conftest import Platform, serving_platform

MAIL = "ada@example.com"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": f"Finds orders; ask {MAIL} if it fails.",
        "parameters": {
            "type": "object",
            "properties": {
                "email": {"type": "string", "enum": [MAIL, "none"]},
                "description": {"type": "string"},
            },
            "required": ["email"],
        },
    },
}
ASKED = [{"role": "user", "content": f"Where is my order? I am {MAIL}"}]
CALLED = [
    *ASKED,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_ada@example.com",
                "type": "function",
                "function": {"name": "find_order", "arguments": json.dumps({"email": MAIL})},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_ada@example.com", "content": f"for {MAIL}: sent"},
]


def _tool(name: str = "other", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


async def _ask(platform: Platform, **more: Any) -> Any:
    async with platform.client("key-f") as client:
        given: dict[str, Any] = {"model": "base", "messages": ASKED, "tools": [TOOL]} | more
        return await client.chat.completions.create(**given)


async def test_a_call_comes_back_with_its_values_and_the_engine_saw_none(
    platform: Platform,
) -> None:
    platform.engine.calls = [("find_order", '{"email": "<EMAIL_1>", "description": "é"}')]
    platform.engine.reply = "One moment"
    choice = (await _ask(platform)).choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name == "find_order"
    assert json.loads(call.function.arguments) == {"email": MAIL, "description": "é"}
    assert call.id != "call_0"
    (body,) = platform.engine.bodies
    assert MAIL not in str(body)
    function = body["tools"][0]["function"]
    assert function["description"] == "Finds orders; ask <EMAIL_1> if it fails."
    assert function["parameters"]["properties"]["email"]["enum"] == ["<EMAIL_1>", "none"]
    assert function["parameters"]["properties"]["description"] == {"type": "string"}


async def test_a_stream_of_calls_has_openais_shape(platform: Platform) -> None:
    arguments = '{"email": "\\u003cEMAIL_1\\u003e"}'
    platform.engine.calls = [("find_order", arguments), ("other", "{}")]
    calls: dict[int, dict[str, str]] = {}
    async with platform.client("key-f") as client:
        offered: Any = [TOOL, _tool()]
        stream: Any = await client.chat.completions.create(
            model="base", messages=ASKED, tools=offered, stream=True
        )
        async for chunk in stream:
            for piece in chunk.choices[0].delta.tool_calls or ():
                call = calls.setdefault(piece.index, {"id": piece.id, "name": "", "arguments": ""})
                call["name"] += piece.function.name or ""
                call["arguments"] += piece.function.arguments or ""
    assert chunk.choices[0].finish_reason == "tool_calls"
    assert [call["name"] for call in calls.values()] == ["find_order", "other"]
    assert [json.loads(call["arguments"]) for call in calls.values()] == [{"email": MAIL}, {}]
    assert len({call["id"] for call in calls.values()}) == 2


async def test_a_tool_that_was_not_offered_is_not_called(platform: Platform) -> None:
    platform.engine.calls = [("delete_all", '{"a": 1}'), ("find_order", "{}")]
    message = (await _ask(platform)).choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["find_order"]


async def test_a_conversation_goes_on_after_a_tools_answer(platform: Platform) -> None:
    platform.engine.reply = "It was sent to <EMAIL_1>"
    answer = await _ask(platform, messages=CALLED)
    assert answer.choices[0].message.content.strip() == f"It was sent to {MAIL}"
    (body,) = platform.engine.bodies
    assert MAIL not in str(body)
    _, asked, called, returned = body["messages"]
    assert "30 days" in asked["content"]  # the sources stand with the question
    assert called["tool_calls"][0]["function"]["arguments"] == '{"email": "<EMAIL_1>"}'
    assert returned == {
        "role": "tool",
        "content": "for <EMAIL_1>: sent",
        "tool_call_id": called["tool_calls"][0]["id"],
    }
    # The search was for the question, and not for what the tool returned.
    assert platform.search.asked[-1][1].text == ASKED[0]["content"]


async def test_the_next_prompt_begins_as_the_last_one(platform: Platform) -> None:
    platform.engine.calls = [("find_order", '{"email": "<EMAIL_1>"}')]
    await _ask(platform)
    await _ask(platform, messages=CALLED)
    first, then = (body["messages"] for body in platform.engine.bodies)
    assert then[: len(first)] == first


@pytest.mark.parametrize(
    ("choice", "shown", "sent"),
    [
        ("none", [], None),
        ("auto", ["find_order", "other"], "auto"),
        ("required", ["find_order", "other"], "required"),
        (_tool(), ["other"], _tool()),
    ],
)
async def test_the_choice_of_a_tool_is_handed_on(
    platform: Platform, choice: Any, shown: list[str], sent: Any
) -> None:
    await _ask(platform, tools=[TOOL, _tool()], tool_choice=choice, parallel_tool_calls=False)
    (body,) = platform.engine.bodies
    assert [tool["function"]["name"] for tool in body.get("tools", [])] == shown
    assert body.get("tool_choice") == sent
    assert body.get("parallel_tool_calls") == (False if shown else None)


_LONG = "x" * 70_000
_DEEP: dict[str, Any] = {"type": "string"}
for _ in range(20):
    _DEEP = {"type": "array", "items": _DEEP}


def _schema(strict: bool = False, **own: Any) -> dict[str, Any]:
    return _tool(parameters={"type": "object", "properties": {"a": own}}, strict=strict)


def _strict(number: int = 0, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    return _tool(f"strict{number}", parameters=schema, strict=True)


# What takes an engine seconds to compile; each alone would be let through.
_LENGTHS = [_strict(n, a={"type": "string", "maxLength": 64}) for n in range(3)]
_PROPERTIES = [_strict(n, **{f"p{m}": {"type": "string"} for m in range(100)}) for n in range(3)]
_BOUNDS = [
    _strict(n, **{f"p{m}": {"type": "number", "maximum": 1e300 + m} for m in range(15)})
    for n in range(3)
]
_CONSTANTS = [_strict(n, a={"enum": ["x" * 6_000]}) for n in range(3)]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tools": _LENGTHS}, "tool_limit_exceeded"),
        ({"tools": _PROPERTIES}, "tool_limit_exceeded"),
        ({"tools": _BOUNDS}, "tool_limit_exceeded"),
        ({"tools": _CONSTANTS}, "tool_limit_exceeded"),
        ({"tools": [_tool(f"t{n}") for n in range(65)]}, "tool_limit_exceeded"),
        ({"tools": [_tool(description=_LONG)]}, "tool_limit_exceeded"),
        ({"tools": [_tool(), _tool()]}, "invalid_tool"),
        ({"tools": [_schema(type="secret-canary")]}, "invalid_tool"),
        ({"tools": [_schema(**{"secret-canary": 1})]}, "invalid_tool"),
        ({"tools": [_schema(**_DEEP)]}, "invalid_tool"),
        ({"tools": [_schema(**{"$ref": "http://secret-canary/"})]}, "invalid_tool"),
        ({"tools": [_schema(strict=True, pattern="(a+)+")]}, "invalid_tool"),
        ({"tools": [_schema(strict=True, maxLength=100_000)]}, "invalid_tool"),
        ({"tool_choice": _tool("missing")}, "invalid_tool"),
        ({"tools": [], "tool_choice": "required"}, "invalid_tool"),
        ({"tools": [_tool("secret canary")]}, "invalid_request"),
        ({"tools": [{"type": "function", "function": {"name": "a"}, "defer_loading": True}]},
         "parameter_not_allowed"),
        ({"messages": CALLED[:2]}, "invalid_request"),
        ({"messages": [*ASKED, CALLED[2]]}, "invalid_request"),
        ({"messages": [*CALLED, CALLED[2]]}, "invalid_request"),
        ({"messages": [CALLED[1], CALLED[2]]}, "invalid_request"),
    ],
)  # fmt: skip
async def test_what_the_engine_could_not_take_is_refused_without_quoting_it(
    platform: Platform, changes: dict[str, Any], code: str
) -> None:
    body = {"model": "base", "messages": ASKED, "tools": [TOOL]} | changes
    async with httpx.AsyncClient(base_url=platform.url, timeout=60) as client:
        headers = {"Authorization": "Bearer key-f"}
        reply = await client.post("/v1/chat/completions", json=body, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, code)
    assert "canary" not in reply.text
    assert platform.engine.bodies == []


async def test_what_no_grammar_is_made_of_may_say_more(platform: Platform) -> None:
    await _ask(platform, tools=[_schema(type="string", pattern="^[A-Z]+$", maxLength=100_000)])
    assert len(platform.engine.bodies) == 1


@pytest.mark.parametrize("tools", [_LENGTHS[:2], _PROPERTIES[:2], _BOUNDS[:2], _CONSTANTS[:2]])
def test_what_compiles_in_time_is_let_through(tools: list[dict[str, Any]]) -> None:
    check_tools([Tool.model_validate(tool) for tool in tools], "auto")


async def test_tools_count_in_the_context(platform: Platform) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await _ask(platform, tools=[_tool(description="word " * 2_000)])
    assert caught.value.code == "context_limit_exceeded"


@pytest.mark.parametrize(("compiles", "status"), [(False, 200), (True, 400)])
async def test_where_the_engine_may_compile_each_tool_each_has_a_strict_ones_limits(
    monkeypatch: pytest.MonkeyPatch, compiles: bool, status: int
) -> None:
    monkeypatch.setattr(fakes, "ChatOptions", partial(ChatOptions, strict_tools=compiles))
    async with serving_platform(demo=False) as platform:
        platform.engine.reply = "None of them."
        loose = [_schema(pattern="(a+)+")]
        many = {f"p{number}": {"maximum": number} for number in range(33)}
        ranges = [_tool(parameters={"type": "object", "properties": many})]
        for tools in (loose, ranges):
            body = {"model": "base", "messages": ASKED, "tools": tools}
            headers = {"Authorization": "Bearer key-f"}
            async with httpx.AsyncClient(base_url=platform.url, headers=headers) as client:
                answer = await client.post("/v1/chat/completions", json=body)
            assert answer.status_code == status


@pytest.mark.parametrize(
    ("parser", "each"), [("hermes", False), ("pythonic", True), ("off", False)]
)
def test_the_parser_says_whether_it_may(parser: str, each: bool) -> None:
    assert gateway._options(Settings(engine_tool_parser=parser)).strict_tools is each
