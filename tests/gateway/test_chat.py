"""Chats over HTTP with the official client; the engine and the parts beside it are stand-ins."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest

from tests.gateway.conftest import Platform

QUESTION = [{"role": "user", "content": "How long may I return? I am ada@example.com"}]


async def _ask(platform: Platform, key: str, **more: Any) -> Any:
    async with platform.client(key) as client:
        arguments: dict[str, Any] = {"model": "base", "messages": QUESTION} | more
        return await client.chat.completions.create(**arguments)


async def test_each_tenant_is_answered_from_its_own_documents(platform: Platform) -> None:
    for key, fact, foreign in (("key-f", "30 days", "14 days"), ("key-v", "14 days", "30 days")):
        answer = await _ask(platform, key)
        (citation,) = answer.model_extra["citations"]
        assert fact in citation["quote"]
        assert citation["cited"] is True
        prompt = str(platform.engine.bodies[-1]["messages"])
        assert fact in prompt
        assert foreign not in prompt


async def test_a_leaky_search_is_stopped_before_the_prompt(platform: Platform) -> None:
    platform.search.leaky = True
    with pytest.raises(openai.InternalServerError) as caught:
        await _ask(platform, "key-f")
    assert "14 days" not in str(caught.value.body)
    assert platform.engine.bodies == []


async def test_a_stream_ends_with_citations_then_usage(platform: Platform) -> None:
    options = {"include_usage": True}
    async with platform.client("key-f") as client:
        stream = await client.chat.completions.create(
            model="base", messages=QUESTION, stream=True, stream_options=options
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text.strip() == platform.engine.reply
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-2].model_extra["citations"][0]["document_id"] == "returns.md"
    assert chunks[-1].usage.total_tokens == 54


async def test_the_engine_sees_placeholders_and_the_caller_the_values(platform: Platform) -> None:
    platform.engine.reply = "I wrote to <EMAIL_1>"
    answer = await _ask(platform, "key-f")
    assert answer.choices[0].message.content.strip() == "I wrote to ada@example.com"
    assert "ada@example.com" not in str(platform.engine.bodies)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_may_keep_placeholders_and_have_them_resolved_later(
    platform: Platform, stream: bool
) -> None:
    platform.engine.reply = "I wrote to <EMAIL_1>"
    body = {"model": "base", "messages": QUESTION, "placeholders": "kept", "stream": stream}
    headers = {"Authorization": "Bearer key-f"}
    async with httpx.AsyncClient(base_url=platform.url, headers=headers) as client:
        answer = await client.post("/v1/chat/completions", json=body)
        assert "ada@example.com" not in answer.text
        assert "EMAIL_1" in answer.text
        events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
        parts = [json.loads(event) for event in (events if stream else [answer.text])]
        (given,) = [part["conversation"] for part in parts if "conversation" in part]
        asked = {"conversation": given["id"], "token": given["token"]}
        asked["placeholders"] = ["<EMAIL_1>"]
        resolved = await client.post("/v1/placeholders", json=asked)
        assert resolved.json()["data"] == [{"placeholder": "<EMAIL_1>", "value": "ada@example.com"}]
        others = {"Authorization": "Bearer key-v"}
        refused = await client.post("/v1/placeholders", json=asked, headers=others)
        assert refused.json()["error"]["code"] == "invalid_conversation_token"


async def test_equal_prompts_hit_the_cache_within_a_tenant_only(platform: Platform) -> None:
    platform.search.leaky = False
    cached = [
        (await _ask(platform, key)).usage.prompt_tokens_details.cached_tokens
        for key in ("key-f", "key-f", "key-v")
    ]
    assert cached == [0, 40, 0]
    salts = [body["cache_salt"] for body in platform.engine.bodies]
    assert salts[0] == salts[1] != salts[2]


@pytest.mark.parametrize(
    "control",
    ["cache_salt", "extra_key", "rid", "priority", "lora_path", "session_params", "input_ids"],
)
async def test_a_caller_cannot_set_the_engines_controls(platform: Platform, control: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await _ask(platform, "key-f", extra_body={control: "x"})
    assert caught.value.code == "parameter_not_allowed"
    assert platform.engine.bodies == []


async def test_unknown_and_composed_models_get_the_same_answer(platform: Platform) -> None:
    bodies = []
    for model in ("nope", "base:adapter", "voltbay/adapter"):
        with pytest.raises(openai.NotFoundError) as caught:
            await _ask(platform, "key-f", model=model)
        bodies.append(caught.value.body)
    assert bodies[0] == bodies[1] == bodies[2]


async def test_bad_keys_get_the_same_answer(platform: Platform) -> None:
    answers = []
    async with httpx.AsyncClient(timeout=60, base_url=platform.url) as client:
        for header in ("Bearer wrong", "Bearer", "Basic key-f", ""):
            reply = await client.get("/v1/models", headers={"Authorization": header})
            answers.append((reply.status_code, reply.text))
    assert set(answers) == {answers[0]}
    assert answers[0][0] == 401


async def test_a_request_above_the_context_cap_is_refused(platform: Platform) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await _ask(platform, "key-f", max_tokens=5_000)
    assert caught.value.code == "context_limit_exceeded"


async def test_a_caller_who_leaves_stops_the_engine_and_frees_the_slot(platform: Platform) -> None:
    platform.engine.endless = True
    platform.engine.reply = "on"
    async with httpx.AsyncClient(timeout=60, base_url=platform.url) as client:
        request = client.stream(
            "POST",
            "/v1/chat/completions",
            headers={"Authorization": "Bearer key-v"},
            json={"model": "base", "stream": False, "messages": QUESTION},
            timeout=1.0,
        )
        with pytest.raises(httpx.ReadTimeout):
            async with request:
                raise AssertionError("an endless answer cannot arrive")
    await asyncio.wait_for(platform.engine.ended_early.wait(), 5)
    for _ in range(500):
        if platform.ledger.records:
            break
        await asyncio.sleep(0.01)
    ((tenant, record),) = platform.ledger.records
    assert (tenant, record.finish_reason) == ("voltbay", "cancelled")
    assert record.cost is not None  # asked for, after the engine had stopped
    assert record.cost.busy_seconds == 0.25
    assert platform.limiter.running == {"voltbay": 0}


async def test_every_request_is_recorded_for_its_own_tenant(platform: Platform) -> None:
    await _ask(platform, "key-f")
    await _ask(platform, "key-v")
    assert [tenant for tenant, _ in platform.ledger.records] == ["fjellvik", "voltbay"]
    record = platform.ledger.records[0][1]
    assert record.prompt_tokens == 50
    assert record.cost is not None
    assert record.cost.busy_seconds == 0.5  # as the engine said with the answer


async def test_a_malformed_body_is_refused_without_quoting_it(platform: Platform) -> None:
    async with httpx.AsyncClient(timeout=60, base_url=platform.url) as client:
        for body in (b"secret-canary", b'{"model": 1, "messages": "secret-canary"}'):
            reply = await client.post(
                "/v1/chat/completions", content=body, headers={"Authorization": "Bearer key-f"}
            )
            assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")
            assert "canary" not in reply.text
