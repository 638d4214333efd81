"""A gateway with adapters: two tenants on one registry and one stub engine, on a real database."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from serving.adapters.engine_names import EngineNames
from serving.adapters.eviction import Places
from serving.adapters.leases import AdapterLeases
from serving.adapters.memory import PrivateMemory
from serving.adapters.models import AdapterModels
from serving.adapters.peft_config import CONFIG_FILE
from serving.adapters.registry import AdapterRegistry
from serving.adapters.residency import Residency, ResidencyParts
from serving.adapters.uploads import Uploads
from serving.adapters.weights import WEIGHTS_FILE
from serving.control.database import Database
from serving.control.policies import PolicyRegistry
from serving.control.residency import ResidencyLedger
from serving.control.tenants import TenantRegistry
from serving.control.usage import UsageLedger
from serving.embedded.rollouts import RolloutStore
from serving.engine.client import EngineClient
from serving.engine.lora import SglangLora
from serving.gateway.app import create_app
from serving.gateway.chat import ChatService
from serving.gateway.runtime import AdapterParts
from serving.gateway.shadows import Shadows
from serving.rollout.assignment import Assigner
from serving.rollout.judge import RolloutJudge
from serving.rollout.ledger import FigureLedger
from serving.rollout.trials import TrialParts, Trials
from serving.scheduler.queue import FairQueue
from tests.adapters.conftest import FJELLVIK, OPERATOR, VOLTBAY, make_shop
from tests.adapters.files import write
from tests.databases import fresh_database
from tests.gateway.fakes import Files, Ledger, Limiter, Search, runtime
from tests.memory import memory_root
from tests.signing import signer_for_tests
from tests.stub_engine import StubEngine

QUESTION = [{"role": "user", "content": "How long may I return?"}]


@dataclass
class Gateway:
    folder: Path
    http: httpx.AsyncClient
    engine: StubEngine
    registry: AdapterRegistry
    database: Database
    ledger: Ledger
    rollouts: RolloutStore
    trials: Trials
    service: ChatService
    residency: Residency

    @property
    def shadows(self) -> Shadows:
        """What runs behind the answers."""
        return self.service._shadows

    async def send(self, key: str, files: list[Any], **fields: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        fields = {"name": "support"} | fields
        return await self.http.post("/v1/adapters", headers=headers, data=fields, files=files)

    def files(self, seed: int = 0) -> list[Any]:
        folder = write(self.folder / f"files-{seed}", seed=seed).folder
        return [
            ("files", (name, (folder / name).read_bytes())) for name in (CONFIG_FILE, WEIGHTS_FILE)
        ]

    async def add(self, key: str, seed: int, **fields: str) -> str:
        """Upload; the digest of the weights, which the stub engine answers with."""
        files = self.files(seed)
        answer = await self.send(key, files, **fields)
        assert answer.status_code == 201, answer.text
        return hashlib.sha256(files[1][1][1]).hexdigest()

    async def call(self, key: str, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return await self.http.request(method, path, headers=headers, **more)

    async def chat(self, key: str, model: str, **more: Any) -> httpx.Response:
        body = {"model": model, "messages": QUESTION} | more
        return await self.call(key, "POST", "/v1/chat/completions", json=body)

    async def answer(self, key: str, model: str, **more: Any) -> str:
        answered = await self.chat(key, model, **more)
        assert answered.status_code == 200, answered.text
        return str(answered.json()["choices"][0]["message"]["content"]).strip()


@asynccontextmanager
async def adapter_gateway(
    tmp_path: Path, *, rollouts: bool, masked: bool = True
) -> AsyncGenerator[Gateway, None]:
    """rollouts: whether chats take part in them; the routes are there in any case. masked: False
    where the operator switched masking off; the tenants' policies are the database's then."""
    database = await fresh_database(tmp_path / "data/bulkhead.db")
    for ctx in (FJELLVIK, VOLTBAY):
        await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
    shop = make_shop(database, str(tmp_path / "store"), tmp_path)
    memory = PrivateMemory.open(memory_root(tmp_path))
    engine, ledger = StubEngine(), Ledger()
    async with engine.serving() as url:
        client = EngineClient(url, model="m", api_key="k", signer=signer_for_tests())
        await client.identify()
        files = Files(tmp_path / "spool")
        parts = runtime(client, search=Search(), limiter=Limiter(), ledger=ledger, files=files)
        residency = Residency(
            ResidencyParts(
                SglangLora(OPERATOR, lambda: client),
                shop.registry,
                memory,
                EngineNames(b"n" * 32),
                ResidencyLedger(database),
                parts.metrics,
                Places(2, 0.0),
            )
        )
        models = AdapterModels(shop.registry, AdapterLeases(residency))
        assert parts.chat is not None
        store = RolloutStore.over(database)
        trials = _trials(store)
        wired = replace(
            parts.chat._parts,
            models=models,
            trials=trials if rollouts else None,
            queue=FairQueue(1),
        )
        if not masked:
            wired = replace(wired, masker=None, policies=PolicyRegistry(database))
        chat = ChatService(wired, parts.chat._options)
        parts = replace(
            parts,
            usage=UsageLedger(database),
            chat=chat,
            adapters=AdapterParts(
                shop.registry, Uploads(memory), ResidencyLedger(database), store.rollouts
            ),
        )
        transport = httpx.ASGITransport(create_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            yield Gateway(
                tmp_path,
                http,
                engine,
                shop.registry,
                database,
                ledger,
                store,
                trials,
                chat,
                residency,
            )
        await chat.close()
        await residency.close()
        await client.close()
        files.parsers.close()
    memory.close()
    await database.close()


def _trials(store: RolloutStore) -> Trials:
    judge = RolloutJudge(OPERATOR, store.index, store.adapters, store.plans)
    ledger, assigner = FigureLedger(store.index), Assigner(b"a" * 32)
    return Trials(OPERATOR, TrialParts(store.plans, assigner, ledger, judge))
