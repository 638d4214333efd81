"""What a chat says when the tenant's documents do not speak of the question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import openai
import pytest

from isolation.errors import CrossTenantError
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Passage
from rag.retrieval.follow_up import Question
from serving.gateway.refusal import Refusal
from tests.gateway.conftest import Platform, serving_platform

SORRY, OWN_WORDS = "That is not in our documents.", "Das steht nicht in unseren Unterlagen."
REFUSAL = Refusal(0.4, SORRY, {"voltbay": OWN_WORDS})
HOPELESS = "What is the capital of Australia?"


@pytest.fixture
async def platform() -> AsyncGenerator[Platform, None]:
    async with serving_platform(demo=False, refusal=REFUSAL) as platform:
        platform.search.similarities = {"fjellvik": 0.1, "voltbay": 0.1}
        yield platform


async def _ask(platform: Platform, key: str, *turns: str, **more: Any) -> Any:
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]
    async with platform.client(key) as client:
        create: Any = client.chat.completions.create
        return await create(model="base", messages=messages, **more)


async def test_it_says_so_in_the_tenants_words_and_asks_no_engine(platform: Platform) -> None:
    for key, words in (("key-f", SORRY), ("key-v", OWN_WORDS)):
        answer = await _ask(platform, key, HOPELESS)
        assert answer.choices[0].message.content == words
        assert answer.choices[0].finish_reason == "stop"
        assert answer.model_extra["citations"] == []
        assert answer.usage.total_tokens == 0
    assert platform.engine.bodies == []


async def test_it_is_streamed_in_the_shape_of_an_answer(platform: Platform) -> None:
    options = {"include_usage": True}
    stream = _ask(platform, "key-f", HOPELESS, stream=True, stream_options=options)
    chunks = [chunk async for chunk in await stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == SORRY
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-2].model_extra["citations"] == []
    assert chunks[-1].usage.total_tokens == 0


async def test_it_is_recorded_as_a_request_that_cost_no_token(platform: Platform) -> None:
    await _ask(platform, "key-f", HOPELESS)
    ((tenant, record),) = platform.ledger.records
    assert (tenant, record.finish_reason) == ("fjellvik", "stop")
    assert (record.prompt_tokens, record.completion_tokens, record.passages) == (0, 0, 0)


async def test_what_the_documents_speak_of_is_answered(platform: Platform) -> None:
    platform.search.similarities = {"fjellvik": 0.9}
    answer = await _ask(platform, "key-f", HOPELESS)
    assert answer.choices[0].message.content.strip() == platform.engine.reply
    assert len(answer.model_extra["citations"]) == 1


async def test_small_talk_is_neither_refused_nor_searched_for(platform: Platform) -> None:
    answer = await _ask(platform, "key-f", "Hello!")
    assert answer.choices[0].message.content.strip() == platform.engine.reply
    assert answer.model_extra["citations"] == []
    assert platform.search.asked == []


async def test_the_decision_and_its_text_are_the_same_whatever_the_other_tenant_has(
    platform: Platform,
) -> None:
    seen = []
    for theirs in (0.0, 1.0):
        platform.search.similarities = {"fjellvik": 0.1, "voltbay": theirs}
        answer = (await _ask(platform, "key-f", HOPELESS)).model_dump()
        seen.append({name: answer[name] for name in ("choices", "citations", "usage")})
    assert seen[0] == seen[1]
    # The control: the document that is relevant moves the decision of its owner.
    theirs_answered = await _ask(platform, "key-v", HOPELESS)
    assert theirs_answered.choices[0].message.content.strip() == platform.engine.reply


async def test_a_foreign_passage_never_speaks_in_the_decision(platform: Platform) -> None:
    platform.search.leaky = True
    platform.search.similarities = {"fjellvik": 0.1, "voltbay": 1.0}
    with pytest.raises(openai.InternalServerError):
        await _ask(platform, "key-f", HOPELESS)
    fjellvik, voltbay = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
    foreign = Passage(voltbay.tenant_id, "d", "v1", 0, "D", "text", 1.0, 1.0)
    with pytest.raises(CrossTenantError):
        REFUSAL.of(fjellvik, Question(HOPELESS), [foreign])


async def test_a_follow_up_is_searched_with_its_own_conversation_and_no_other(
    platform: Platform,
) -> None:
    """Two tenants and two conversations at once, each with a word of its own."""
    platform.search.similarities = {}
    words = [f"zephyr{number}" for number in range(8)]
    asking = [
        _ask(platform, ("key-f", "key-v")[n % 2], f"May I return a {word}?", "Yes.", "and when?")
        for n, word in enumerate(words)
    ]
    await asyncio.gather(*asking)
    assert _mixed(platform, words) == []
    assert len(platform.search.asked) == len(words)


async def test_a_rewriting_that_remembers_other_conversations_is_caught(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serving.gateway import preparing

    right, remembered = preparing.question_of, []

    def leaky(conversation: Any) -> Question:
        question = right(conversation)
        remembered.append(question.context)
        return Question(question.text, " ".join(remembered))

    monkeypatch.setattr(preparing, "question_of", leaky)
    platform.search.similarities = {}
    for key, word in (("key-f", "zephyr0"), ("key-v", "zephyr1")):
        await _ask(platform, key, f"Can I return a {word}?", "Yes.", "and when?")
    assert _mixed(platform, ["zephyr0", "zephyr1"])


def _mixed(platform: Platform, words: list[str]) -> list[Question]:
    """Searches that hold the words of two conversations, or of none."""
    return [
        question
        for _, question in platform.search.asked
        if sum(word in question.whole for word in words) != 1
    ]
