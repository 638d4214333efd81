"""`/admin/v1/public-prefixes`: the operator shares, and nobody else; engines come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import structlog

from isolation.testing.contexts import operator_for_tests
from rag.prompt import SYSTEM_TEXT
from serving.control.public_prefixes import PublicPrefixRecords
from serving.embedded.public_prefixes import PublicPrefixes, keeping
from serving.engine.client import EngineClient
from serving.engine.tokens import ByteCounter
from serving.errors import EngineUnavailableError
from serving.gateway.app import create_app
from tests.databases import fresh_database
from tests.gateway.fakes import plain_runtime
from tests.signing import signer_for_tests
from tests.stub_engine import StubEngine

OPERATOR = {"Authorization": "Bearer operator"}
TENANT = {"Authorization": "Bearer key-f"}
URL = "/admin/v1/public-prefixes"
SECRET = "Refunds go out on Fridays."
TOOL = {
    "type": "function",
    "function": {"name": "find_order", "parameters": {"type": "object", "properties": {}}},
}
SHARED = {"system": SECRET, "tools": [TOOL]}


@dataclass
class Platform:
    client: httpx.AsyncClient
    engine: StubEngine
    prefixes: PublicPrefixes
    away: bool = False

    async def states(self) -> dict[str, str]:
        listed = (await self.client.get(URL, headers=OPERATOR)).json()["data"]
        return {row["name"]: row["state"] for row in listed}


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncGenerator[Platform, None]:
    database = await fresh_database(tmp_path / "bulkhead.db")
    stub = StubEngine()
    async with stub.serving() as url:
        upstream = EngineClient(url, model="m", api_key="k", signer=signer_for_tests())

        def engine() -> EngineClient:
            if made.away:
                raise EngineUnavailableError
            return upstream

        prefixes = PublicPrefixes(PublicPrefixRecords(database), engine, ByteCounter)
        parts = plain_runtime(upstream, tmp_path)
        app = create_app(replace(parts, public_prefixes=prefixes))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(base_url="http://gateway", transport=transport) as client:
            made = Platform(client, stub, prefixes)
            yield made
        await upstream.close()
    await database.close()


async def test_what_is_shared_is_laid_out_as_chats_are_and_shown_with_its_trail(
    platform: Platform,
) -> None:
    reply = await platform.client.put(f"{URL}/house", json=SHARED, headers=OPERATOR)
    assert reply.status_code == 200
    assert (reply.json()["state"], reply.json()["tokens"] > 0) == ("published", True)
    (public,) = platform.engine.public.values()
    assert public == {
        "messages": [{"role": "system", "content": f"{SYSTEM_TEXT}\n\n{SECRET}"}],
        "tools": [TOOL],
    }
    assert await platform.states() == {"house": "published"}
    shown = (await platform.client.get(f"{URL}/house", headers=OPERATOR)).json()
    assert (shown["system"], shown["tools"]) == (SECRET, [TOOL])
    (step,) = shown["steps"]
    assert (step["action"], step["who"]) == ("published", operator_for_tests().operator)


async def test_with_nothing_said_the_platforms_own_text_is_shared_and_before_that_nothing(
    platform: Platform,
) -> None:
    await platform.prefixes.keep(operator_for_tests())
    assert platform.engine.public == {}
    assert (await platform.client.put(f"{URL}/own", json={}, headers=OPERATOR)).is_success
    (public,) = platform.engine.public.values()
    assert public == {"messages": [{"role": "system", "content": SYSTEM_TEXT}], "tools": []}


async def test_public_prefixes_are_the_operators(platform: Platform) -> None:
    await platform.client.put(f"{URL}/house", json=SHARED, headers=OPERATOR)
    before = dict(platform.engine.public)
    other = {"system": "Ours."}
    for reply in (
        await platform.client.put(f"{URL}/house", json=other, headers=TENANT),
        await platform.client.put(f"{URL}/BAD", content=b"{", headers=TENANT),
        await platform.client.get(URL, headers=TENANT),
        await platform.client.get(f"{URL}/house", headers=TENANT),
        await platform.client.delete(f"{URL}/house?now=true", headers=TENANT),
        await platform.client.put(f"{URL}/house", json=other),
    ):
        assert (reply.status_code, reply.json()["code"]) == (401, "invalid_api_key")
        assert SECRET not in reply.text
    assert platform.engine.public == before
    assert await platform.states() == {"house": "published"}


@pytest.mark.parametrize("how", ["flushed", "started anew"])
async def test_an_engine_that_lost_it_gets_it_again(platform: Platform, how: str) -> None:
    await platform.client.put(f"{URL}/house", json=SHARED, headers=OPERATOR)
    (before,) = platform.engine.public
    async with keeping(platform.prefixes, operator_for_tests(), every=0.02):
        platform.away = how == "started anew"
        platform.engine.public.clear()
        await asyncio.sleep(0.1)
        assert platform.away is not bool(platform.engine.public)
        platform.away = False
        async with asyncio.timeout(5):
            while not platform.engine.public:
                await asyncio.sleep(0.01)
    assert list(platform.engine.public) == [before]


async def test_it_waits_for_an_engine(platform: Platform) -> None:
    platform.away = True
    reply = await platform.client.put(f"{URL}/house", json=SHARED, headers=OPERATOR)
    assert (reply.status_code, reply.json()["state"]) == (200, "waiting")
    assert await platform.states() == {"house": "waiting"}
    platform.away = False
    await platform.prefixes.keep(operator_for_tests())
    assert await platform.states() == {"house": "published"}


async def test_what_the_engine_has_no_room_for_is_refused_with_the_way_out(
    platform: Platform,
) -> None:
    platform.engine.room = 100
    refused = await platform.client.put(f"{URL}/house", json=SHARED, headers=OPERATOR)
    assert (refused.status_code, refused.json()["code"]) == (400, "public_prefix_refused")
    assert "room for 100 more public tokens" in refused.json()["detail"]
    assert await platform.states() == {}
    # Kept while no engine was there, it is told by the list, and tried again where that may help.
    platform.away = True
    await platform.client.put(f"{URL}/house", json=SHARED, headers=OPERATOR)
    platform.away = False
    await platform.prefixes.keep(operator_for_tests())
    (row,) = (await platform.client.get(URL, headers=OPERATOR)).json()["data"]
    assert (row["state"], "room for 100" in row["reason"]) == ("refused", True)
    platform.engine.room = 10_000
    await platform.prefixes.keep(operator_for_tests())
    assert await platform.states() == {"house": "published"}


async def test_what_is_withdrawn_leaves_the_engine_now_or_with_its_next_start(
    platform: Platform,
) -> None:
    for name, text in (("house", SECRET), ("other", "Be kind.")):
        body = {"system": text}
        await platform.client.put(f"{URL}/{name}", json=body, headers=OPERATOR)
    assert (await platform.client.delete(f"{URL}/house", headers=OPERATOR)).is_success
    assert len(platform.engine.public) == 2
    await platform.client.put(f"{URL}/house", json=SHARED, headers=OPERATOR)
    assert (await platform.client.delete(f"{URL}/house?now=true", headers=OPERATOR)).is_success
    assert len(platform.engine.public) == 1
    assert SECRET not in str(platform.engine.public)
    assert await platform.states() == {"other": "published"}
    platform.away = True
    stays = await platform.client.delete(f"{URL}/other?now=true", headers=OPERATOR)
    assert (stays.status_code, stays.json()["code"]) == (503, "engine_unavailable")
    assert "It is withdrawn." in stays.json()["detail"]
    assert await platform.states() == {}
    gone = await platform.client.delete(f"{URL}/house", headers=OPERATOR)
    assert (gone.status_code, gone.json()["code"]) == (404, "public_prefix_not_found")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"system": "s" * 65_537}, "invalid_request"),
        ({"system": SECRET, "more": 1}, "parameter_not_allowed"),
        ({"tools": [{"type": "function", "function": {"name": SECRET}}]}, "invalid_request"),
        ({"tools": [TOOL, TOOL]}, "invalid_tool"),
        ({"tools": [TOOL | {"function": {"name": str(n)}} for n in range(65)]}, None),
        ({"system": SECRET, "tools": ["x" * 500_000]}, "payload_too_large"),
    ],
)
async def test_what_is_too_large_or_no_prefix_is_refused_and_not_quoted(
    platform: Platform, body: dict[str, object], code: str | None
) -> None:
    reply = await platform.client.put(f"{URL}/house", json=body, headers=OPERATOR)
    assert reply.status_code in (400, 413)
    assert reply.json()["code"] == (code or "tool_limit_exceeded")
    assert SECRET not in reply.text
    assert await platform.states() == {}


async def test_no_log_line_holds_what_is_shared(platform: Platform) -> None:
    with structlog.testing.capture_logs() as lines:
        await platform.client.put(f"{URL}/house", json=SHARED, headers=OPERATOR)
        platform.engine.public.clear()
        platform.engine.room = 100
        await platform.prefixes.keep(operator_for_tests())
        await platform.client.put(f"{URL}/house", json={"x": SECRET}, headers=OPERATOR)
    events = [line["event"] for line in lines]
    assert "public_prefix.refused" in events  # the control: lines are seen
    assert "request" in events
    for said in (SECRET, "find_order", "house", SYSTEM_TEXT[:20]):
        assert said not in str(lines)
