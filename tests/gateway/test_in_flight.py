"""A tenant's requests are counted in and out, whatever they ask for, and only its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import httpx
import pytest

from isolation.testing.contexts import tenant_for_tests
from rag.documents import Passage
from rag.filters import Where
from rag.retrieval.follow_up import Question
from serving.admission import in_flight
from serving.admission.in_flight import InFlight
from serving.errors import ConcurrencyLimitError
from tests.gateway.conftest import Platform
from tests.gateway.fakes import KEYS, TenantSearch

# As many as chats, so that few are enough.
MOST = KEYS["key-f"].tier.max_concurrency
OWN, OTHER = {"Authorization": "Bearer key-f"}, {"Authorization": "Bearer key-v"}
ASKED = {"query": "How long?"}


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "_FOR_EACH_CHAT", 1)


@pytest.fixture
async def client(platform: Platform) -> AsyncGenerator[httpx.AsyncClient, None]:
    limits = httpx.Limits(max_connections=MOST + 5)
    async with httpx.AsyncClient(timeout=60, base_url=platform.url, limits=limits) as client:
        yield client


class Held:
    """One tenant's searches wait until `go` is set; the other's do not."""

    def __init__(self) -> None:
        self.go, self.waiting = asyncio.Event(), 0


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()
    search = TenantSearch.search

    async def slow(
        self: TenantSearch, question: Question, *, limit: int, where: Where | None = None
    ) -> list[Passage]:
        if self.ctx.tenant_id == "fjellvik":
            held.waiting += 1
            await held.go.wait()
        return await search(self, question, limit=limit, where=where)

    monkeypatch.setattr(TenantSearch, "search", slow)
    return held


async def _flooded(client: httpx.AsyncClient, held: Held) -> list[asyncio.Task[httpx.Response]]:
    """As many searches as may be in flight."""
    ask = lambda: client.post("/v1/search", json=ASKED, headers=OWN)  # noqa: E731
    tasks = [asyncio.ensure_future(ask()) for _ in range(MOST)]
    while held.waiting < MOST:
        await asyncio.sleep(0.01)
    return tasks


async def test_one_more_is_refused_and_nobody_elses(client: httpx.AsyncClient, held: Held) -> None:
    tasks = await _flooded(client, held)
    for method, path in (("GET", "/v1/documents"), ("POST", "/v1/chat/completions")):
        refused = await client.request(method, path, json={}, headers=OWN)
        assert refused.json()["error"]["code"] == "concurrency_limit_exceeded"
        assert refused.headers["retry-after"] == "1"
    assert (await client.post("/v1/search", json=ASKED, headers=OTHER)).is_success
    held.go.set()
    assert {answer.status_code for answer in await asyncio.gather(*tasks)} == {200}
    assert (await client.get("/v1/documents", headers=OWN)).is_success


async def test_a_twin_that_counts_all_tenants_as_one_is_caught(
    client: httpx.AsyncClient, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = tenant_for_tests("everybody")
    monkeypatch.setattr(in_flight, "require_tenant", lambda ctx, what: everybody)
    tasks = await _flooded(client, held)
    assert (await client.post("/v1/search", json=ASKED, headers=OTHER)).status_code == 429
    held.go.set()
    await asyncio.gather(*tasks)


async def test_whoever_fails_or_leaves_is_counted_out(
    client: httpx.AsyncClient, held: Held
) -> None:
    for _ in range(MOST + 1):
        assert (await client.post("/v1/search", json={}, headers=OWN)).status_code == 400
        assert (await client.get("/v1/documents/none", headers=OWN)).status_code == 404
    tasks = await _flooded(client, held)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    held.go.set()
    while (await client.get("/v1/documents", headers=OWN)).status_code == 429:
        await asyncio.sleep(0.01)


def test_nothing_is_kept_of_who_has_left() -> None:
    counted, ctx = InFlight(), tenant_for_tests("acme")
    leaving = [counted.enter(ctx) for _ in range(ctx.tier.max_concurrency)]
    with pytest.raises(ConcurrencyLimitError):
        counted.enter(ctx)
    for leave in leaving:
        leave()
    assert not counted._inside
