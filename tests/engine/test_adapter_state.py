"""What stays in the engine of a tenant's adapter, read from its buffers."""

from __future__ import annotations

import secrets
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.performance.engine_side import running_engine
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.cli.engine import worker_of
from serving.engine.client import EngineClient, Job
from serving.engine.launch import Lora
from serving.engine.lora import SglangLora
from serving.settings import Settings
from tests.adapters.files import BASE, config, tensors, write
from tests.engine.wire import Wire, new_namespace
from tests.signing import signer_for_tests

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

FJELLVIK = tenant_for_tests("fjellvik")
# One adapter has a slot beside the base model, and more are loaded.
ROOM = Lora(rank=16, batch=1, loaded=3)


class Adapters:
    """Loads adapters of a rank, and asks with them."""

    def __init__(self, client: EngineClient, folder: Path) -> None:
        self.client = client
        self.lora = SglangLora(operator_for_tests(), lambda: client)
        self.folder = folder

    async def load(self, rank: int) -> str:
        name, modules = secrets.token_hex(32), list(BASE.shapes)
        content = config(r=rank, target_modules=modules)
        weights = tensors(rank=rank, modules=modules)
        written = write(self.folder / name, content=content, weights=weights)
        await self.lora.load(name, written.folder)
        return name

    async def ask(self, name: str, text: str = "Hello") -> None:
        job = Job(secrets.token_hex(16), [{"role": "user", "content": text}], 2, {}, name)
        async with aclosing(self.client.of(FJELLVIK, new_namespace()).stream(job)) as deltas:
            async for _ in deltas:
                pass

    async def audit(self) -> dict[str, Any]:
        status, answer = await Wire(self.client).open("GET /bulkhead/v1/audit")
        assert status == 200
        (rank,) = answer["ranks"]
        return dict(rank)

    async def replaced(self) -> dict[str, int]:
        """The slots after a large adapter and then two small ones have taken them."""
        large = await self.load(rank=16)
        await self.ask(large)
        held = (await self.audit())["adapters"]
        assert (held["host"], held["held"], held["dirty"]) == (1, 1, 0)
        small = [await self.load(rank=4) for _ in range(2)]
        for name in small:
            await self.ask(name)
        slots = (await self.audit())["adapters"]
        assert slots["host"] == 3
        for name in (large, *small):
            await self.lora.unload(name)
        return dict(slots)


async def _adapters(tiny_model: Path, folder: Path, scrub: bool) -> dict[str, Any]:
    """One engine's life: what its buffers held after a change of adapters, and after all left."""
    worker = replace(worker_of(Settings(), tiny_model), lora=ROOM, scrub_adapters=scrub)
    signer = signer_for_tests()
    async with running_engine(worker, folder, signer) as launched:
        client = EngineClient(launched.url, model="base", api_key=launched.api_key, signer=signer)
        await client.identify()
        adapters = Adapters(client, folder)
        replaced = await adapters.replaced()
        unloaded = (await adapters.audit())["adapters"]
        name = await adapters.load(rank=4)
        account = signer.account(FJELLVIK.tenant_id)
        await adapters.ask(name, "What is your return policy? " * 30)
        before = await _resident(client, account)
        await adapters.lora.unload(name)
        after, slots = await _resident(client, account), await adapters.audit()
        await client.close()
    return {
        "replaced": replaced,
        "unloaded": unloaded,
        "resident": (before, after),
        "dirty": slots["dirty"],
    }


async def _resident(client: EngineClient, account: str) -> int:
    _, answer = await Wire(client).open("GET /bulkhead/v1/accounts")
    return int(answer["ranks"][0]["accounts"][account]["resident"])


async def test_an_adapter_that_leaves_its_slot_leaves_nothing_in_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    seen = await _adapters(tiny_model, tmp_path, scrub=True)
    assert seen["replaced"]["held"] == 1  # the other slot is the base model's
    assert seen["replaced"]["dirty"] == 0
    assert seen["unloaded"] == {"host": 0, "held": 0, "dirty": 0}
    # Its prefixes go with it, and the slots that held them are zeroed.
    before, after = seen["resident"]
    assert (before > 150, after, seen["dirty"]) == (True, 0, 0)


async def test_without_scrubbing_the_slot_holds_the_earlier_adapters_weights(
    tiny_model: Path, tmp_path: Path
) -> None:
    """The control: the same slots are read, and what a smaller adapter left of a larger is seen."""
    seen = await _adapters(tiny_model, tmp_path, scrub=False)
    assert seen["replaced"]["dirty"] == 1
