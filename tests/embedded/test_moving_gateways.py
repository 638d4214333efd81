"""Two gateways on one Qdrant server: one re-embeds, both answer and take writes meanwhile, and both
answer with the new vectors behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from evals.performance.hashed_embedder import HashedEmbedder
from isolation.tenant_id import tenant_id
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Document
from rag.errors import StoreUnavailableError
from rag.store.server.generations import ServerGenerations
from serving.cli import reembed as command
from serving.cli.client import CallFailedError
from serving.control import catalog
from serving.control.database import utc_now
from serving.control.moves import Moves
from serving.control.tables import VectorMoveRow
from serving.embedded.core import Core, open_core, runtime_without_engine
from serving.embedded.following import Following
from serving.gateway.app import create_app
from serving.key_files import admin_key
from serving.settings import Settings
from tests.rag.loopback.server import Loopback, loopback

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
DAYS = {"fjellvik": "30 days", "voltbay": "14 days"}


@dataclass
class Gateways:
    server: Loopback
    cores: list[Core]
    clients: list[httpx.AsyncClient]
    tenants: dict[str, list[httpx.AsyncClient]]

    async def search(self, tenant: str, gateway: int, query: str = "Returns within days") -> str:
        answer = await self.tenants[tenant][gateway].post(
            "/v1/search", json={"query": query, "top_k": 10}
        )
        assert answer.is_success, answer.text
        return answer.text

    async def each_finds_its_own(self) -> None:
        for tenant, other in (("fjellvik", "voltbay"), ("voltbay", "fjellvik")):
            for gateway in range(2):
                found = await self.search(tenant, gateway)
                assert DAYS[tenant] in found
                assert DAYS[other] not in found

    async def models(self, name: str) -> None:
        """Returns when both gateways answer with this one."""
        async with asyncio.timeout(20):
            while {core.embedder.name for core in self.cores} != {name}:
                await asyncio.sleep(0.02)

    async def lease_ends(self) -> None:
        past = utc_now() - timedelta(seconds=1)
        async with self.cores[0].database.transaction() as session:
            await session.execute(update(VectorMoveRow).values(expires_at=past))


def _installed(name: str) -> HashedEmbedder:
    return HashedEmbedder({"old": 8, "new": 16}[name], name)


@pytest.fixture
async def gateways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Gateways, None]:
    monkeypatch.setattr(Following.__init__, "__defaults__", (0.05,))
    for module in ("reembedding", "knowledge"):
        monkeypatch.setattr(f"serving.embedded.{module}.installed", _installed)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(loopback())
        cores, transports = [], []
        for number in range(2):
            settings = Settings(
                data_dir=tmp_path / str(number),
                qdrant_url=server.url,
                database_url=f"sqlite+aiosqlite:///{tmp_path}/shared.db",
                master_key="m" * 40,
                admin_key="a" * 40,
            )
            opened = open_core(settings, embedder=_installed("old"))
            cores.append(await stack.enter_async_context(opened))
            transports.append(httpx.ASGITransport(create_app(runtime_without_engine(cores[-1]))))
        clients = [_client(one, admin_key(cores[0].settings)) for one in transports]
        tenants = {}
        for name, days in DAYS.items():
            await cores[0].registry.add(cores[0].operator, tenant_id(name), "business")
            key = await cores[0].registry.issue_key(cores[0].operator, tenant_id(name))
            tenants[name] = [_client(one, key.text) for one in transports]
            for number in range(4):
                text = f"Returns within {days}, rule {number}."
                await _put(tenants[name][number % 2], f"d{number}", text)
        yield Gateways(server, cores, clients, tenants)


def _client(transport: httpx.ASGITransport, key: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url="http://bulkhead", headers=headers, transport=transport)


async def _put(client: httpx.AsyncClient, name: str, text: str) -> None:
    answer = await client.post("/v1/documents", json={"id": name, "title": name, "text": text})
    assert answer.is_success, answer.text


async def _reembed(gateways: Gateways, monkeypatch: pytest.MonkeyPatch, gateway: int = 0) -> Any:
    """`bulkhead reembed new`, at one of the two."""

    @asynccontextmanager
    async def client(*_: object) -> AsyncGenerator[httpx.AsyncClient, None]:
        yield gateways.clients[gateway]

    monkeypatch.setattr(command, "operator_client", client)
    return await command._reembed("new", None)


async def test_the_command_moves_both_gateways_while_both_answer_and_write(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateways.each_finds_its_own()
    moving = asyncio.ensure_future(_reembed(gateways, monkeypatch))
    written = 0
    while not moving.done() or not written:
        name = f"meanwhile-{written}"
        await _put(gateways.tenants["fjellvik"][written % 2], name, f"Parcels, 30 days: {name}.")
        await gateways.tenants["voltbay"][written % 2].delete(f"/v1/documents/d{written % 3}")
        await gateways.each_finds_its_own()
        written += 1
    assert (await moving)["state"] == "done"
    await gateways.models("new")
    await gateways.each_finds_its_own()
    assert list(gateways.server.collections) == ["bulkhead-0002"]
    assert gateways.server.aliases == {"bulkhead-current": "bulkhead-0002"}
    for gateway in range(2):
        store = gateways.cores[gateway].ingestor.generation.store
        for ctx in (FJELLVIK, VOLTBAY):
            entries = await gateways.cores[gateway].ingestor.of(ctx).list()
            assert await store.of(ctx).count() == sum(entry.chunks for entry in entries)
    assert len(await gateways.cores[0].ingestor.of(FJELLVIK).list()) == 4 + written


class _Waiting(HashedEmbedder):
    def __init__(self) -> None:
        super().__init__(8, "old")
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.reached.set()
        await self.go_on.wait()
        return await super().embed(texts)


async def _late_write(gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the second gateway, which staged it for the old generation, and follows nothing yet."""
    second, follow = gateways.cores[1], asyncio.Event()
    beat = Moves.beat

    async def silent(moves: Moves) -> int:
        if moves is second.knowledge.moves:
            await follow.wait()
        return await beat(moves)

    async def leaves() -> None:
        # As one that stood still: it is not waited for.
        assert second.knowledge.moves is not None
        await second.knowledge.moves.leave()

    monkeypatch.setattr(Moves, "beat", silent)
    await leaves()
    store, waiting = second.ingestor.generation.store, _Waiting()
    # The generation is one object, by which a write knows that another took over.
    object.__setattr__(second.ingestor.generation, "embedder", waiting)
    late = asyncio.ensure_future(
        second.ingestor.of(FJELLVIK).ingest(
            Document("late", "Late", "Returns within 30 days, late.")
        )
    )
    await waiting.reached.wait()
    drop = ServerGenerations.drop_others

    async def later(generations: ServerGenerations, operator: Any) -> None:
        waiting.go_on.set()
        await asyncio.wait([late], timeout=1)
        follow.set()
        await gateways.models("new")
        await drop(generations, operator)

    monkeypatch.setattr(ServerGenerations, "drop_others", later)
    await _reembed(gateways, monkeypatch)
    assert (await late).status == "created"
    assert store is not second.ingestor.generation.store
    for gateway in range(2):
        assert "late" in await gateways.search("fjellvik", gateway, "Returns late")


async def test_a_write_of_a_gateway_that_has_not_followed_lands_in_the_new_vectors(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _late_write(gateways, monkeypatch)


async def test_commits_that_do_not_look_at_the_epoch_are_caught(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: what is committed for the old vectors is acknowledged, and in none."""

    async def unchecked(*_: object, **__: object) -> None:
        return

    monkeypatch.setattr(catalog, "require_epoch", unchecked)
    with pytest.raises(AssertionError):
        await _late_write(gateways, monkeypatch)


async def test_one_gateway_re_embeds_at_a_time(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = gateways.cores[0].knowledge.moves
    assert moves is not None
    async with moves.taken(gateways.cores[0].operator, "new"):
        with pytest.raises(CallFailedError, match="reembedding_runs"):
            await _reembed(gateways, monkeypatch, gateway=1)
        refused = await gateways.clients[1].post("/admin/v1/tenants/fjellvik/promote")
        assert (refused.status_code, refused.json()["code"]) == (409, "reembedding_runs")
    await _reembed(gateways, monkeypatch, gateway=1)
    await gateways.models("new")


@pytest.mark.parametrize("done", [True, False])
async def test_a_switch_whose_answer_is_lost_ends_with_one_generation_at_both(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """As for a gateway that is killed in that moment: nothing is committed until it is known."""
    switch = ServerGenerations.switch

    async def lost(generations: ServerGenerations, operator: Any) -> None:
        if done:
            await switch(generations, operator)
        raise StoreUnavailableError

    with monkeypatch.context() as patched:
        patched.setattr(ServerGenerations, "switch", lost)
        with pytest.raises(CallFailedError):
            await _reembed(gateways, patched)
    waiting = asyncio.ensure_future(
        _put(gateways.tenants["fjellvik"][1], "held", "Returns within 30 days, held.")
    )
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await gateways.lease_ends()
    await waiting
    await gateways.models("new" if done else "old")
    await gateways.each_finds_its_own()
    for gateway in range(2):
        assert "held" in await gateways.search("fjellvik", gateway, "Returns held")
    if not done:
        await _reembed(gateways, monkeypatch)
        await gateways.models("new")
    await gateways.each_finds_its_own()


@pytest.mark.parametrize("where", ["before the lease is looked at", "before the alias", "behind"])
async def test_a_gateway_that_stood_still_ends_with_what_the_others_agreed_on(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The others have ended its re-embedding: on the old vectors, or on the new ones where it had
    moved the alias already."""
    still, switch, second = Moves.require_held, ServerGenerations.switch, gateways.cores[1]

    async def sleep() -> None:
        await gateways.lease_ends()
        assert second.knowledge.moves is not None
        async with asyncio.timeout(20):
            while second.knowledge.moves.epoch == 0:
                await asyncio.sleep(0.02)

    async def held(moves: Moves) -> None:
        if where == "before the lease is looked at":
            await sleep()
        await still(moves)

    async def switched(generations: ServerGenerations, operator: Any) -> None:
        if where == "before the alias":
            await sleep()
        await switch(generations, operator)
        if where == "behind":
            await sleep()

    with monkeypatch.context() as patched:
        patched.setattr(Moves, "require_held", held)
        patched.setattr(ServerGenerations, "switch", switched)
        with pytest.raises(CallFailedError, match="stood still"):
            await _reembed(gateways, patched)
    name = "bulkhead-0002" if where == "behind" else "bulkhead"
    assert gateways.server.aliases.get("bulkhead-current", "bulkhead") == name
    await _put(gateways.tenants["fjellvik"][1], "after", "Returns within 30 days, after.")
    await gateways.models("new" if where == "behind" else "old")
    await gateways.each_finds_its_own()
    for gateway in range(2):
        assert "after" in await gateways.search("fjellvik", gateway, "Returns after")
