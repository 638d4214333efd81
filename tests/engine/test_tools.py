"""Tools on SGLang itself: they are taken, and a call comes back piece by piece."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest

from isolation.namespaces import Namespace
from isolation.testing.contexts import tenant_for_tests
from serving.engine.client import Delta, EngineClient, Job
from serving.engine.tokens import TokenizerCounter
from tests.engine.wire import Wire, code

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

FJELLVIK = tenant_for_tests("fjellvik")
ASKED = [{"role": "user", "content": "Where is my order?"}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Finds an order.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"email": {"type": "string", "enum": ["<EMAIL_ADDRESS_1>"]}},
            "required": ["email"],
            "additionalProperties": False,
        },
    },
}
NAMED = {"type": "function", "function": {"name": "find_order"}}
RESULT = [
    *ASKED,
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "call00001",
                "type": "function",
                "function": {"name": "find_order", "arguments": '{"email": "<EMAIL_ADDRESS_1>"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call00001", "content": "It was sent."},
]


async def _answer(engine: EngineClient, job: Job) -> list[Delta]:
    own = engine.of(FJELLVIK, Namespace(secrets.token_hex(32)))
    return [delta async for delta in own.stream(job)]


def _job(messages: Any = ASKED, **more: Any) -> Job:
    # The grammar allows white space, of which a random model cannot get enough.
    sampling = {"temperature": 0, "frequency_penalty": 2}
    return Job(secrets.token_hex(16), messages, 256, sampling, tools=[TOOL], **more)


@pytest.mark.parametrize("choice", ["required", NAMED])
async def test_a_call_that_must_be_made_is_made(engine: EngineClient, choice: Any) -> None:
    deltas = await _answer(engine, _job(tool_controls={"tool_choice": choice}))
    calls = [call for delta in deltas for call in delta.calls]
    assert [call.name for call in calls if call.name] == ["find_order"]
    arguments = "".join(call.arguments for call in calls)
    assert json.loads(arguments) == {"email": "<EMAIL_ADDRESS_1>"}
    # A model that knows when to end says "tool_calls"; a random one goes on to its limit.
    assert {delta.finish_reason for delta in deltas} & {"tool_calls", "length"}


async def test_tools_and_what_they_returned_are_taken_and_counted_as_the_engine_counts(
    engine: EngineClient, tiny_model: Any
) -> None:
    counter = TokenizerCounter(tiny_model)
    assert not counter.takes_tools  # so the gateway writes them into the texts
    for messages in (ASKED, RESULT):
        deltas = await _answer(engine, _job(messages))
        (usage,) = [delta.usage for delta in deltas if delta.usage is not None]
        assert usage.prompt == counter.count_messages(messages, [TOOL])


@pytest.mark.parametrize(
    "changes",
    [
        {"tools": [TOOL | {"defer_loading": True}]},
        {"tools": [{"type": "function", "function": {"name": "a", "key_order": []}}]},
        {"tools": [{"type": "function", "function": {"name": 1}}]},
        {"tools": [TOOL] * 65},
        {"tool_choice": {"type": "allowed_tools"}},
        {"messages": [{"role": "system", "content": "a", "tools": [TOOL]}, *ASKED]},
        {"messages": [{"role": "assistant", "content": "a", "tool_calls": [{"id": "x"}]}, *ASKED]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
    ],
)
async def test_the_gate_takes_tools_in_openais_shape_and_in_no_other(
    engine: EngineClient, changes: dict[str, Any]
) -> None:
    wire = Wire(engine)
    status, answer = await wire.chat(wire.body(**changes))
    assert (status, code(answer)) == (403, "body_refused")
