"""A model sees some sentences of the passages; the refusal and the customer see them whole."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.gateway.conftest import Platform
from tests.gateway.fakes import FACTS, SENTENCES

LONG = {
    tenant: " ".join([fact, *(f"Sentence {chr(97 + n)} of {tenant}." for n in range(9))])
    for tenant, fact in FACTS.items()
}


@pytest.fixture(autouse=True)
def long_passages(monkeypatch: pytest.MonkeyPatch) -> None:
    for tenant, text in LONG.items():
        monkeypatch.setitem(FACTS, tenant, text)


async def _ask(platform: Platform, key: str, **more: Any) -> Any:
    async with platform.client(key) as client:
        create: Any = client.chat.completions.create
        asked = [{"role": "user", "content": "How long may I return it?"}]
        return await create(model="base", messages=asked, **more)


async def test_each_tenants_prompt_is_short_and_its_sources_whole(platform: Platform) -> None:
    for key, tenant, other in (("key-f", "fjellvik", "voltbay"), ("key-v", "voltbay", "fjellvik")):
        answer = await _ask(platform, key)
        prompt = str(platform.engine.bodies[-1]["messages"])
        said = [sentence for sentence in LONG[tenant].split(". ") if sentence in prompt]
        assert len(said) == SENTENCES < len(LONG[tenant].split(". "))
        assert other not in prompt
        (citation,) = answer.model_extra["citations"]
        assert citation["quote"] == LONG[tenant]


async def test_what_a_leaky_search_finds_is_not_weighed(platform: Platform) -> None:
    platform.search.leaky = True
    with pytest.raises(openai.InternalServerError) as caught:
        await _ask(platform, "key-f")
    assert "voltbay" not in str(caught.value.body)
    assert platform.engine.bodies == []
