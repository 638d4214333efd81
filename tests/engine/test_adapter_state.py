"""What stays in the engine of a tenant's adapter, read from its buffers."""

from __future__ import annotations

import secrets
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.engine.client import EngineClient, Job
from serving.engine.lora import SglangLora
from tests.adapters.files import BASE, config, tensors, write
from tests.engine.conftest import ROOM
from tests.engine.wire import Wire, new_namespace
from tests.signing import signer_for_tests

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

FJELLVIK = tenant_for_tests("fjellvik")


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
        """The slots after a large adapter and then as many small ones as there are have taken them.

        One more is loaded than there are slots beside the base model's."""
        large = await self.load(rank=16)
        await self.ask(large)
        held = (await self.audit())["adapters"]
        assert (held["host"], held["held"], held["dirty"]) == (1, 1, 0)
        small = [await self.load(rank=4) for _ in range(ROOM)]
        for name in small:
            await self.ask(name)
        slots = (await self.audit())["adapters"]
        assert slots["host"] == ROOM + 1
        for name in (large, *small):
            await self.lora.unload(name)
        return dict(slots)


async def _resident(client: EngineClient, account: str) -> int:
    _, answer = await Wire(client).open("GET /bulkhead/v1/accounts")
    return int(answer["ranks"][0]["accounts"][account]["resident"])


async def test_an_adapter_that_leaves_its_slot_leaves_nothing_in_it(
    engine: EngineClient, tmp_path: Path
) -> None:
    adapters, account = Adapters(engine, tmp_path), signer_for_tests().account(FJELLVIK.tenant_id)
    await Wire(engine).flush()
    replaced = await adapters.replaced()
    assert replaced["held"] == ROOM  # the other slot is the base model's
    assert replaced["dirty"] == 0
    assert (await adapters.audit())["adapters"] == {"host": 0, "held": 0, "dirty": 0}
    name = await adapters.load(rank=4)
    await adapters.ask(name, "What is your return policy? " * 30)
    assert await _resident(engine, account) > 150
    # Its prefixes go with it, and the slots that held them are zeroed.
    await adapters.lora.unload(name)
    assert await _resident(engine, account) == 0
    assert (await adapters.audit())["dirty"] == 0


async def test_without_scrubbing_the_slot_holds_the_earlier_adapters_weights(
    changed_engine: EngineClient, tmp_path: Path
) -> None:
    """The control: the same slots are read, and what a smaller adapter left of a larger is seen."""
    assert (await Adapters(changed_engine, tmp_path).replaced())["dirty"] == 1
