"""Who is given the chat page, and who the demo merchants' keys."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx
import pytest

from tests.gateway.conftest import Platform, serving_platform
from tests.gateway.fakes import KEYS


@pytest.fixture
async def demo() -> AsyncGenerator[Platform, None]:
    async with serving_platform(demo=True) as platform:
        yield platform


async def _ask_for_keys(platform: Platform, **headers: str) -> httpx.Response:
    own = {"Origin": platform.url, "Sec-Fetch-Site": "same-origin"}
    given = own | {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(timeout=60, base_url=platform.url) as client:
        return await client.post("/page/demo", headers={k: v for k, v in given.items() if v})


async def test_our_own_page_on_this_machine_is_given_the_demo_keys(demo: Platform) -> None:
    reply = await _ask_for_keys(demo)
    assert [tenant["api_key"] for tenant in reply.json()["data"]] == list(KEYS)


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("another site in the browser", {"Origin": "https://evil.example"}),
        ("another port's page", {"Origin": "http://127.0.0.1:1"}),
        ("a page without an origin", {"Origin": "null"}),
        ("no browser", {"Origin": ""}),
        ("a cross-site fetch", {"Sec_Fetch_Site": "cross-site"}),
    ],
)
async def test_nobody_else_is_given_the_demo_keys(
    demo: Platform, name: str, headers: dict[str, str]
) -> None:
    reply = await _ask_for_keys(demo, **headers)
    assert (name, reply.status_code) == (name, 404)
    assert "key-f" not in reply.text


async def test_a_name_that_was_pointed_here_opens_no_page(demo: Platform) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[", ""):
        origin = {"Host": host, "Origin": f"http://{host}"}
        async with httpx.AsyncClient(base_url=demo.url) as client:
            page = await client.get("/", headers={"Host": host})
            keys = await client.post("/page/demo", headers=origin)
        assert (page.status_code, page.json()["error"]["code"]) == (421, "host_not_allowed")
        assert keys.status_code == 421


async def test_without_a_demo_there_are_no_keys_and_the_answer_is_that_of_no_route(
    platform: Platform,
) -> None:
    reply = await _ask_for_keys(platform)
    async with httpx.AsyncClient(timeout=60, base_url=platform.url) as client:
        unknown = await client.post("/page-of-nothing")
    assert (reply.status_code, reply.content) == (unknown.status_code, unknown.content)


async def test_the_page_forbids_all_that_it_does_not_need(platform: Platform) -> None:
    async with httpx.AsyncClient(timeout=60, base_url=platform.url) as client:
        for path in ("/", "/page/chat.js", "/page/api.js", "/page/chat.css"):
            reply = await client.get(path)
            assert reply.status_code == 200
            policy = reply.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert reply.headers["x-content-type-options"] == "nosniff"
        page = (await client.get("/")).text
        assert "style=" not in page
        assert "http" not in page.replace("http-equiv", "")


async def test_only_the_pages_own_files_are_served(platform: Platform) -> None:
    async with httpx.AsyncClient(timeout=60, base_url=platform.url) as client:
        for name in ("index.html", "..%2forigin.py", "%2e%2e/origin.py", "chat.js%00"):
            assert (await client.get(f"/page/{name}")).status_code == 404
