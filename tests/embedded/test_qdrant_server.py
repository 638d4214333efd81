"""The platform on a Qdrant server: chosen by a setting, and without noticing otherwise."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from serving.embedded.core import open_core, runtime_without_engine
from serving.embedded.store import server_generations
from serving.errors import StartupError
from serving.gateway.app import create_app
from serving.key_files import admin_key
from serving.settings import Settings
from tests.rag.loopback import faults
from tests.rag.loopback.server import Loopback, loopback

TEXTS = {"fjellvik": "Returns within 30 days.", "voltbay": "Returns within 14 days."}


@dataclass
class Platform:
    server: Loopback
    operator: httpx.AsyncClient
    tenants: dict[str, httpx.AsyncClient]

    async def search(self, tenant: str) -> httpx.Response:
        body = {"query": "How many days to return?", "top_k": 5}
        return await self.tenants[tenant].post("/v1/search", json=body)


@pytest.fixture
async def platform(
    tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncGenerator[Platform, None]:
    async with loopback() as server:
        settings = Settings(
            data_dir=tmp_path / "data",
            qdrant_url=server.url,
            qdrant_placement=getattr(request, "param", "shared"),
        )
        async with open_core(settings) as core:
            transport = httpx.ASGITransport(
                create_app(runtime_without_engine(core)), raise_app_exceptions=False
            )
            operator = _client(transport, admin_key(settings))
            tenants = {name: await _tenant(operator, transport, name) for name in TEXTS}
            yield Platform(server, operator, tenants)
            server.fault = None


def _client(transport: httpx.ASGITransport, key: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url="http://bulkhead", headers=headers, transport=transport)


async def _tenant(
    operator: httpx.AsyncClient, transport: httpx.ASGITransport, name: str
) -> httpx.AsyncClient:
    await operator.post("/admin/v1/tenants", json={"id": name, "tier": "business"})
    answer = await operator.post("/admin/v1/keys", json={"tenant_id": name})
    client = _client(transport, answer.json()["api_key"])
    document = {"id": "returns", "title": "Returns", "text": TEXTS[name]}
    assert (await client.post("/v1/documents", json=document)).is_success
    return client


async def test_each_tenant_finds_its_own_on_the_server(platform: Platform) -> None:
    for name, text in TEXTS.items():
        (passage,) = (await platform.search(name)).json()["data"]
        assert text in passage["text"]
    assert platform.server.sent("/points/query")


async def test_a_server_that_is_gone_is_a_503_with_a_code_and_a_time(platform: Platform) -> None:
    platform.server.fault = faults.status(503)
    answer = await platform.search("fjellvik")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json()["error"]["code"] == "store_unavailable"
    assert faults.QUOTED not in answer.text
    document = {"id": "more", "title": "More", "text": "More."}
    answer = await platform.tenants["fjellvik"].post("/v1/documents", json=document)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
    platform.server.fault = None
    assert (await platform.search("fjellvik")).is_success


@pytest.mark.parametrize("url", ["localhost:6333", "ftp://q", "http://", "http://u:p@q:6333"])
def test_a_url_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(StartupError, match="BULKHEAD_QDRANT"):
        server_generations(Settings(data_dir=tmp_path, qdrant_url=url))


async def _places(platform: Platform) -> dict[str, str]:
    answer = await platform.operator.get("/admin/v1/tenants")
    return {tenant["id"]: tenant["placement"] for tenant in answer.json()["data"]}


@pytest.mark.parametrize("platform", ["tiered"], indirect=True)
async def test_the_operator_promotes_a_tenant_and_sees_it(platform: Platform) -> None:
    assert await _places(platform) == {"fjellvik": "shared", "voltbay": "shared"}
    for _ in range(2):
        answer = await platform.operator.post("/admin/v1/tenants/fjellvik/promote")
        assert answer.json() == {
            "object": "tenant",
            "id": "fjellvik",
            "placement": "own",
            "chunks": 1,
        }
    assert await _places(platform) == {"fjellvik": "own", "voltbay": "shared"}
    for name, text in TEXTS.items():
        (passage,) = (await platform.search(name)).json()["data"]
        assert text in passage["text"]
    unknown = await platform.operator.post("/admin/v1/tenants/nobody/promote")
    assert unknown.status_code == 404


async def test_without_tiers_a_promotion_says_what_it_needs(platform: Platform) -> None:
    answer = await platform.operator.post("/admin/v1/tenants/fjellvik/promote")
    assert (answer.status_code, answer.json()["code"]) == (409, "placement_unavailable")
    assert "BULKHEAD_QDRANT_PLACEMENT" in answer.json()["detail"]
    forbidden = await platform.tenants["fjellvik"].post("/admin/v1/tenants/fjellvik/promote")
    assert forbidden.status_code == 401


async def test_the_operator_exports_and_restores_a_tenant(platform: Platform) -> None:
    archive = (await platform.operator.get("/admin/v1/tenants/fjellvik/export")).content
    await platform.tenants["fjellvik"].delete("/v1/documents/returns")
    assert (await platform.search("fjellvik")).json()["data"] == []
    path = "/admin/v1/tenants/{}/restore"
    refused = await platform.operator.post(path.format("voltbay"), content=archive)
    assert (refused.status_code, refused.json()["code"]) == (422, "archive_refused")
    answer = await platform.operator.post(path.format("fjellvik"), content=archive)
    assert answer.json() == {"object": "tenant", "id": "fjellvik", "documents": 1, "chunks": 1}
    for name, text in TEXTS.items():
        (passage,) = (await platform.search(name)).json()["data"]
        assert text in passage["text"]


@pytest.mark.parametrize("step", ["export", "restore"])
async def test_no_tenant_exports_or_restores(platform: Platform, step: str) -> None:
    method = "GET" if step == "export" else "POST"
    for tenant in TEXTS:
        path = f"/admin/v1/tenants/fjellvik/{step}"
        answer = await platform.tenants[tenant].request(method, path)
        assert answer.status_code == 401
