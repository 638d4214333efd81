"""An adapter sees some sentences of the passages; the refusal and the customer see them whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.embedded.gateway import _compressor
from serving.engine.launch import Worker
from serving.settings import Settings
from tests.gateway.adapter_gateway import Gateway, adapter_gateway
from tests.gateway.fakes import FACTS, SENTENCES

LONG = {
    tenant: " ".join([fact, *(f"Sentence {chr(97 + n)} of {tenant}." for n in range(9))])
    for tenant, fact in FACTS.items()
}
TENANTS = (("key-f", "fjellvik", "voltbay"), ("key-v", "voltbay", "fjellvik"))


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Gateway, None]:
    for tenant, text in LONG.items():
        monkeypatch.setitem(FACTS, tenant, text)
    async with adapter_gateway(tmp_path, rollouts=False) as gateway:
        for seed, (key, *_) in enumerate(TENANTS):
            await gateway.add(key, seed)
        yield gateway


def _shown(gateway: Gateway, tenant: str) -> int:
    """How many sentences of the tenant's passage stand in the last prompt."""
    prompt = str(gateway.engine.bodies[-1]["messages"])
    return sum(sentence in prompt for sentence in LONG[tenant].split(". "))


async def test_each_tenants_prompt_is_short_and_its_sources_whole(gateway: Gateway) -> None:
    for key, tenant, other in TENANTS:
        answer = (await gateway.chat(key, "support")).json()
        assert _shown(gateway, tenant) == SENTENCES < len(LONG[tenant].split(". "))
        assert other not in str(gateway.engine.bodies[-1]["messages"])
        (citation,) = answer["citations"]
        assert citation["quote"] == LONG[tenant]


async def test_the_base_model_sees_whole_passages(gateway: Gateway) -> None:
    for key, tenant, _ in TENANTS:
        assert (await gateway.chat(key, "base")).status_code == 200
        assert _shown(gateway, tenant) == len(LONG[tenant].split(". "))


async def test_what_a_leaky_search_finds_is_not_weighed(gateway: Gateway) -> None:
    retriever: Any = gateway.service._parts.retriever
    retriever.leaky = True
    asked = len(gateway.engine.bodies)
    answer = await gateway.chat("key-f", "support")
    assert (answer.status_code, "voltbay" in answer.text) == (500, False)
    assert len(gateway.engine.bodies) == asked


@pytest.mark.parametrize(
    ("wanted", "device", "has"),
    [
        (None, "cpu", True),
        (None, "cuda", False),
        (None, None, False),
        (0, "cpu", False),
        (3, None, True),
    ],
)
def test_it_is_on_where_the_gateways_own_engine_runs_on_a_cpu(
    wanted: int | None, device: Any, has: bool, tmp_path: Path
) -> None:
    core: Any = SimpleNamespace(settings=Settings(prompt_sentences=wanted))
    worker = device and Worker(tmp_path, tmp_path, device, port=1, slots=1, start_seconds=1.0)
    assert (_compressor(core, worker) is not None) is has
    core.settings = Settings(prompt_sentences=wanted, retrieval="off")
    assert _compressor(core, worker) is None
