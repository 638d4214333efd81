"""Documents over HTTP: ids are the tenant's own, and a foreign one is an unknown one."""

from __future__ import annotations

import httpx

from tests.gateway.conftest import Platform


async def test_a_foreign_document_is_answered_like_an_unknown_one(platform: Platform) -> None:
    async with httpx.AsyncClient(base_url=platform.url) as client:
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
    async with httpx.AsyncClient(base_url=platform.url) as client:
        reply = await client.post(
            "/v1/documents",
            json={"id": "empty.md", "text": "  "},
            headers={"Authorization": "Bearer key-f"},
        )
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_document")


async def test_a_file_is_read_and_a_broken_one_is_refused_by_name(platform: Platform) -> None:
    async with httpx.AsyncClient(base_url=platform.url) as client:
        own = {"Authorization": "Bearer key-f"}
        good = {"file": ("rates.csv", b"zone,price\nA,4.90\n")}
        posted = await client.post("/v1/documents", files=good, headers=own)
        assert (posted.json()["id"], posted.json()["status"]) == ("rates.csv", "created")
        bad = {"file": ("rates.pdf", b"no pdf")}
        refused = await client.post("/v1/documents", files=bad, headers=own)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "document_unreadable")
    assert "rates.pdf" in refused.json()["error"]["message"]
