"""Limits of a minute and a month, through the gateway, counted in a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from isolation.context import TenantContext
from serving.admission.rates import ValkeyRates
from tests.gateway.conftest import Platform, serving_platform
from tests.gateway.fakes import KEYS
from tests.limits import limited_tenant
from tests.valkey import running_valkey

ASKED = {"model": "base", "messages": [{"role": "user", "content": "How long may I return?"}]}
HEADERS = [
    f"x-ratelimit-{what}-{of}"
    for what in ("limit", "remaining", "reset")
    for of in ("requests", "tokens")
]


async def _nothing(ctx: TenantContext, since: datetime) -> int:
    return 0


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncGenerator[Redis, None]:
    """The counters' server."""
    async with running_valkey(tmp_path) as redis:
        yield redis


@pytest.fixture
async def platform(valkey: Redis) -> AsyncGenerator[Platform, None]:
    rates = ValkeyRates(valkey, _nothing)
    async with serving_platform(demo=False, rates=rates) as platform:
        yield platform


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both tenants with the same limits."""

    def limit(**limits: int) -> None:
        for key, name in (("key-f", "fjellvik"), ("key-v", "voltbay")):
            monkeypatch.setitem(KEYS, key, limited_tenant(name, **limits))

    return limit


async def _chat(platform: Platform, key: str, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=platform.url, timeout=30) as client:
        authorization = {"Authorization": f"Bearer {key}"}
        return await client.post("/v1/chat/completions", json=ASKED | more, headers=authorization)


async def _sum(valkey: Redis, tenant: str) -> int:
    found = await valkey.hget(f"bulkhead:{{{tenant}}}:tokens", "sum")  # type: ignore[misc]
    return int(found or 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_says_how_its_tenant_stands_and_nothing_of_the_other(
    platform: Platform, limited: Any, stream: bool
) -> None:
    limited(requests_per_minute=10, tokens_per_minute=100_000)
    left = []
    for key in ("key-f", "key-f", "key-v"):
        answer = await _chat(platform, key, stream=stream)
        assert answer.status_code == 200
        assert all(answer.headers[name] for name in HEADERS)
        left.append(int(answer.headers["x-ratelimit-remaining-requests"]))
    assert left == [9, 8, 9]


async def test_without_limits_nothing_is_said_of_them(platform: Platform, limited: Any) -> None:
    limited()
    answer = await _chat(platform, "key-f")
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


async def test_of_a_rush_as_many_are_answered_as_may_be_and_the_others_cost_nothing(
    platform: Platform, limited: Any
) -> None:
    limited(requests_per_minute=5)
    answers = await asyncio.gather(*(_chat(platform, "key-f") for _ in range(15)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 10
    for answer in refused:
        assert answer.json()["error"]["code"] == "rate_limit_requests"
        assert int(answer.headers["retry-after"]) > 50
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert len(platform.engine.bodies) == 5
    assert (await _chat(platform, "key-v")).status_code == 200
    async with httpx.AsyncClient(base_url=platform.url) as operator:
        shown = await operator.get("/metrics", headers={"Authorization": "Bearer operator"})
    assert 'bulkhead_refusals_total{code="rate_limit_requests"} 10.0' in shown.text


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"max_tokens": 900}])
async def test_what_may_need_more_than_is_left_is_refused_before_anything_is_done(
    platform: Platform, limited: Any, more: dict[str, Any]
) -> None:
    """Also one that says no `max_tokens`: it reserves what it would get."""
    limited(tokens_per_minute=300)
    answer = await _chat(platform, "key-f", **more)
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "rate_limit_tokens"
    assert platform.engine.bodies == []


async def test_what_is_reserved_is_settled_for_what_was_used(
    platform: Platform, limited: Any, valkey: Redis
) -> None:
    limited(tokens_per_minute=100_000, tokens_per_month=100_000)
    used = (await _chat(platform, "key-f", max_tokens=500)).json()["usage"]["total_tokens"]
    assert 0 < used == await _sum(valkey, "fjellvik")
    ((_, record),) = platform.ledger.records
    assert record.prompt_tokens + record.completion_tokens == used


async def test_a_stream_that_is_left_is_settled_for_what_was_written(
    platform: Platform, limited: Any, valkey: Redis
) -> None:
    limited(tokens_per_minute=100_000)
    platform.engine.endless = True
    headers = {"Authorization": "Bearer key-f"}
    async with httpx.AsyncClient(base_url=platform.url, timeout=30, headers=headers) as client:
        asked = ASKED | {"stream": True, "max_tokens": 3_000}
        async with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
            async for line in answer.aiter_lines():
                if "content" in line and '""' not in line:
                    break
            held = await _sum(valkey, "fjellvik")
    assert held > 3_000
    async with asyncio.timeout(20):
        while not platform.ledger.records or await _sum(valkey, "fjellvik") == held:
            await asyncio.sleep(0.01)
    ((_, record),) = platform.ledger.records
    assert await _sum(valkey, "fjellvik") == record.prompt_tokens + record.completion_tokens < held


async def test_who_has_used_up_its_month_is_refused_and_the_other_is_not(
    platform: Platform, limited: Any
) -> None:
    limited(tokens_per_month=1_200)
    most = 1
    while (answer := await _chat(platform, "key-f")).status_code == 200:
        most += 1
    assert most > 2
    assert answer.json()["error"]["code"] == "quota_exhausted"
    assert answer.json()["error"]["type"] == "insufficient_quota"
    assert answer.headers["x-should-retry"] == "false"
    assert len(platform.engine.bodies) == most - 1
    assert (await _chat(platform, "key-v")).status_code == 200
