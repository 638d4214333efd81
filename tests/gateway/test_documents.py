"""Documents over HTTP: ids are the tenant's own, and a foreign one is an unknown one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.conftest import Platform
from tests.rag.pdfs import slow


async def test_a_foreign_document_is_answered_like_an_unknown_one(platform: Platform) -> None:
    async with httpx.AsyncClient(timeout=60, base_url=platform.url) as client:
        own = {"Authorization": "Bearer key-f"}
        other = {"Authorization": "Bearer key-v"}
        posted = await client.post(
            "/v1/documents", json={"id": "a/plan.md", "title": "Plan", "text": "x"}, headers=own
        )
        assert posted.json()["status"] == "created"
        for method in ("GET", "DELETE"):
            foreign = await client.request(method, "/v1/documents/a/plan.md", headers=other)
            unknown = await client.request(method, "/v1/documents/a/none.md", headers=other)
            assert (foreign.status_code, foreign.text) == (unknown.status_code, unknown.text)
            assert foreign.json()["error"]["code"] == "document_not_found"
        assert (await client.get("/v1/documents", headers=other)).json()["data"] == []
        kept = await client.get("/v1/documents/a/plan.md", headers=own)
        assert kept.json()["id"] == "a/plan.md"


async def test_an_empty_document_is_refused(platform: Platform) -> None:
    async with httpx.AsyncClient(timeout=60, base_url=platform.url) as client:
        reply = await client.post(
            "/v1/documents",
            json={"id": "empty.md", "text": "  "},
            headers={"Authorization": "Bearer key-f"},
        )
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_document")


async def test_a_file_is_read_and_a_broken_one_is_refused_by_name(platform: Platform) -> None:
    async with httpx.AsyncClient(timeout=60, base_url=platform.url) as client:
        own = {"Authorization": "Bearer key-f"}
        good = {"file": ("rates.csv", b"zone,price\nA,4.90\n")}
        posted = await client.post("/v1/documents", files=good, headers=own)
        assert (posted.json()["id"], posted.json()["status"]) == ("rates.csv", "created")
        bad = {"file": ("rates.pdf", b"no pdf")}
        refused = await client.post("/v1/documents", files=bad, headers=own)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "document_unreadable")
    assert "rates.pdf" in refused.json()["error"]["message"]


OWN, OTHER = {"Authorization": "Bearer key-f"}, {"Authorization": "Bearer key-v"}


async def test_a_raw_body_is_a_file_of_the_kind_that_it_says(platform: Platform) -> None:
    async with httpx.AsyncClient(timeout=60, base_url=platform.url, headers=OWN) as client:
        rates = {"Content-Type": "text/csv; charset=iso-8859-2"}
        posted = await client.put(
            "/v1/documents/tables/rates?group=sales",
            content="zone,price\nZażółć,4.90\n".encode("iso8859-2"),
            headers=rates,
        )
        assert (posted.json()["id"], posted.json()["status"]) == ("tables/rates", "created")
        assert (await client.get("/v1/documents/tables/rates")).json()["groups"] == ["sales"]
        named = await client.put("/v1/documents/a.md", content=b"# Returns\n\n30 days")
        assert named.json()["title"] == "Returns"


async def test_a_file_that_is_there_already_is_not_parsed_again(platform: Platform) -> None:
    async with httpx.AsyncClient(timeout=60, base_url=platform.url, headers=OWN) as client:
        first = await client.put("/v1/documents/a.md", content=b"# Returns")
        again = await client.put("/v1/documents/a.md", content=b"# Returns")
        assert [first.json()["status"], again.json()["status"]] == ["created", "unchanged"]
        # What one tenant has says nothing to another, whose document of this id is its own.
        other = await client.put("/v1/documents/a.md", content=b"# Returns", headers=OTHER)
        assert other.json()["status"] == "created"
        grouped = await client.put("/v1/documents/a.md?group=x", content=b"# Returns")
        assert grouped.json()["status"] != "unchanged"


@pytest.mark.parametrize("query", ["groups=sales", "Group=sales", "id=x"])
async def test_a_misspelt_group_is_refused_and_not_everybodys(
    platform: Platform, query: str
) -> None:
    async with httpx.AsyncClient(timeout=60, base_url=platform.url, headers=OWN) as client:
        refused = await client.put(f"/v1/documents/a.md?{query}", content=b"# Returns")
        form = {"file": ("a.md", b"# Returns")}
        misspelt = await client.post("/v1/documents", files=form, data={"group": "sales"})
        assert [refused.status_code, misspelt.status_code] == [400, 400]
        assert (await client.get("/v1/documents")).json()["data"] == []


async def _endless() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield b"x" * 100_000


async def test_a_file_above_the_limit_is_refused_however_it_comes(platform: Platform) -> None:
    async with httpx.AsyncClient(timeout=60, base_url=platform.url, headers=OWN) as client:
        declared = await client.put("/v1/documents/a.txt", content=b"x" * 2_000_001)
        chunked = await client.put("/v1/documents/a.txt", content=_endless())
        form = await client.post("/v1/documents", files={"file": ("a.txt", b"x" * 2_050_000)})
    for reply in (declared, chunked, form):
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "payload_too_large")
    assert list(platform.spool.iterdir()) == []


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\nContent-Disposition: form-data; name=file; filename=a.md\r\n\r\n# Cut",
        b"--b\r\nContent-Disposition: form-data; name=other; filename=a.md\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=id\r\n\r\nx\r\n--b--\r\n",
        b"nonsense",
        b"",
    ],
)
async def test_a_broken_form_is_refused_and_leaves_nothing(platform: Platform, body: bytes) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    async with httpx.AsyncClient(timeout=60, base_url=platform.url, headers=OWN) as client:
        reply = await client.post("/v1/documents", content=body, headers=kind)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")
    assert list(platform.spool.iterdir()) == []


async def test_a_caller_who_goes_away_leaves_nothing(platform: Platform) -> None:
    _, writer = await asyncio.open_connection(*platform.url[7:].split(":"))
    head = b"PUT /v1/documents/a.md HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-f\r\n"
    writer.write(head + b"Content-Length: 1000000\r\n\r\n" + b"x" * 100_000)
    await writer.drain()
    while not list(platform.spool.iterdir()):
        await asyncio.sleep(0.01)
    (file,) = platform.spool.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    writer.close()
    while list(platform.spool.iterdir()):
        await asyncio.sleep(0.01)


async def test_health_and_searches_are_answered_while_a_bomb_is_parsed(platform: Platform) -> None:
    async with httpx.AsyncClient(timeout=60, base_url=platform.url, headers=OWN) as client:
        await client.put("/v1/documents/a.md", content=b"# Started")
        bomb = asyncio.create_task(client.put("/v1/documents/slow.pdf", content=slow(200, 100_000)))
        answered = 0
        while not bomb.done():
            assert (await client.get("/healthz")).status_code == 200
            asked = {"query": "returns", "top_k": 1}
            found = await client.post("/v1/search", json=asked, timeout=1)
            assert "30 days" in found.json()["data"][0]["text"]
            answered += 1
            await asyncio.sleep(0.02)
        reply = await bomb
    # It takes its parser the three seconds that this gateway allows.
    assert answered > 20
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "document_too_large")


async def test_a_list_comes_in_pages_of_the_tenants_own(platform: Platform) -> None:
    async with httpx.AsyncClient(timeout=60, base_url=platform.url) as client:
        for owner, names in ((OWN, "aceg"), (OTHER, "bdfh")):
            for name in names:
                await client.post("/v1/documents", json={"id": name, "text": "x"}, headers=owner)

        async def page(**asked: object) -> tuple[str, bool]:
            body = (await client.get("/v1/documents", params=asked, headers=OWN)).json()
            return "".join(one["id"] for one in body["data"]), body["has_more"]

        assert await page() == ("aceg", False)
        assert await page(limit=2) == ("ac", True)
        assert await page(limit=2, after="c") == ("eg", False)
        # From where another tenant's list stands.
        assert await page(limit=9, after="b") == ("ceg", False)
        for asked in ({"limit": 0}, {"limit": 1_001}, {"after": "x" * 257}):
            refused = await client.get("/v1/documents", params=asked, headers=OWN)
            assert refused.json()["error"]["code"] == "invalid_request"
