"""Adapters in SGLang itself: each request gets its own tenant's weights, and none after them."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

import pytest
import pytest_asyncio

from isolation.context import TenantContext
from isolation.namespaces import CacheScope, NamespaceDeriver
from isolation.testing.contexts import operator_for_tests
from serving.adapters.base_model import read_base_model
from serving.adapters.engine_names import EngineNames
from serving.adapters.eviction import Places
from serving.adapters.leases import AdapterLeases
from serving.adapters.memory import PrivateMemory
from serving.adapters.names import Reference
from serving.adapters.ports import AdapterRecord
from serving.adapters.residency import Residency, ResidencyParts
from serving.adapters.weights import WEIGHTS_FILE
from serving.control.tenants import TenantRegistry
from serving.engine.client import EngineClient, Job, TokenUsage
from serving.engine.local import LocalEngine
from serving.engine.lora import SglangLora
from serving.errors import EngineUnavailableError
from serving.metering.metrics import Metrics
from tests.adapters.conftest import FJELLVIK, OPERATOR, VOLTBAY, Shop, make_shop
from tests.adapters.engine_contract import LoraEngineContract
from tests.adapters.files import BASE, config, tensors, write
from tests.adapters.rig import Bill
from tests.databases import fresh_database
from tests.engine.conftest import ROOM
from tests.memory import memory_root

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

SCOPE = CacheScope("m", "t", "", "1")
QUESTION = "What is your return policy? " * 20


@dataclass
class Platform:
    """A registry and a residency manager before the real engine."""

    shop: Shop
    engine: LocalEngine
    residency: Residency
    namespaces: NamespaceDeriver

    async def ask(
        self, ctx: TenantContext, record: AdapterRecord, text: str, max_tokens: int = 3
    ) -> tuple[str, TokenUsage]:
        deadline = asyncio.get_running_loop().time() + 60
        async with AdapterLeases(self.residency).of(ctx).lease(record, deadline) as lease:
            scope = replace(SCOPE, adapter=lease.engine_name)
            namespace = self.namespaces.derive(ctx, scope)
            messages = [{"role": "user", "content": text}]
            job = Job(
                secrets.token_hex(16), messages, max_tokens, {"temperature": 0}, lease.engine_name
            )
            stream = self.engine.client().of(ctx, namespace).stream(job)
            deltas = [delta async for delta in lease.guarded(stream)]
        (usage,) = (delta.usage for delta in deltas if delta.usage is not None)
        return "".join(delta.text for delta in deltas), usage


@pytest_asyncio.fixture(loop_scope="session")
async def platform(local_engine: LocalEngine, tmp_path: Path) -> AsyncGenerator[Platform, None]:
    database = await fresh_database(tmp_path / "data/bulkhead.db")
    for ctx in (FJELLVIK, VOLTBAY):
        await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
    shop = make_shop(database, str(tmp_path / "store"), tmp_path)
    memory = PrivateMemory.open(memory_root(tmp_path))
    parts = ResidencyParts(
        engine=SglangLora(OPERATOR, local_engine.client),
        registry=shop.registry,
        memory=memory,
        names=EngineNames(b"n" * 32),
        sink=Bill(),
        metrics=Metrics(),
        places=Places(ROOM, minimum_seconds=0.0),
    )
    residency = Residency(parts)
    yield Platform(shop, local_engine, residency, NamespaceDeriver(b"k" * 32))
    await residency.close()
    memory.close()
    await database.close()


class TestSglang(LoraEngineContract):
    @pytest_asyncio.fixture(loop_scope="session")
    async def lora_engine(self, local_engine: LocalEngine) -> SglangLora:
        return SglangLora(operator_for_tests(), local_engine.client)


async def test_the_base_model_of_the_other_tests_is_the_tiny_one(tiny_model: Path) -> None:
    read = read_base_model(BASE.name, tiny_model)
    assert read == replace(BASE, tokenizer=read.tokenizer)


async def test_every_request_gets_its_own_adapter_while_they_are_reloaded(
    platform: Platform,
) -> None:
    """Two tenants with two adapters each, and room for two."""
    wanted = {}
    for seed, (ctx, name) in enumerate((c, n) for c in (FJELLVIK, VOLTBAY) for n in ("a", "b")):
        record = await platform.shop.add(ctx, name, seed=seed)
        answers = {(await platform.ask(ctx, record, text))[0] for text in ("Hello", "Hello")}
        assert len(answers) == 1
        wanted[ctx, record] = answers.pop()
    # The positive control: a request that got another's adapter would be seen.
    assert len(set(wanted.values())) == len(wanted)

    async def one(ctx: TenantContext, record: AdapterRecord, answer: str) -> bool:
        return (await platform.ask(ctx, record, "Hello"))[0] == answer

    asked = [(*who, answer) for who, answer in wanted.items()] * 10
    assert all(await asyncio.gather(*(one(*each) for each in asked)))


async def test_prefixes_are_hit_within_one_load_of_one_adapter_only(platform: Platform) -> None:
    mine, theirs = await platform.shop.add(FJELLVIK), await platform.shop.add(VOLTBAY)
    text = QUESTION + secrets.token_hex(4)
    assert (await platform.ask(FJELLVIK, mine, text))[1].cached == 0
    assert (await platform.ask(FJELLVIK, mine, text))[1].cached > 100  # the positive control
    assert (await platform.ask(VOLTBAY, theirs, text))[1].cached == 0
    newer = await platform.shop.add(FJELLVIK, seed=1)
    assert (await platform.ask(FJELLVIK, newer, text))[1].cached == 0
    # The older one was evicted meanwhile: the same weights, and still a load of its own.
    await platform.ask(VOLTBAY, theirs, text)
    assert (await platform.ask(FJELLVIK, mine, text))[1].cached == 0


async def test_a_name_that_is_given_again_meets_no_old_prefix_either(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line behind the names: SGLang's key holds an id of each load, and what an adapter left
    goes with it."""
    monkeypatch.setattr(EngineNames, "new", lambda names, record: record.upload * 2)
    mine = await platform.shop.add(FJELLVIK)
    text = QUESTION + secrets.token_hex(4)
    await platform.ask(FJELLVIK, mine, text)
    assert (await platform.ask(FJELLVIK, mine, text))[1].cached > 100  # the positive control
    for ctx in (VOLTBAY, FJELLVIK):
        await platform.ask(ctx, await platform.shop.add(ctx, seed=1), "Hello")
    lora = SglangLora(OPERATOR, platform.engine.client)
    assert mine.upload * 2 not in await lora.loaded()
    assert (await platform.ask(FJELLVIK, mine, text))[1].cached == 0


async def test_what_was_revoked_is_not_brought_back_by_whoever_knows_its_name(
    platform: Platform,
) -> None:
    record = await platform.shop.add(FJELLVIK)
    deadline = asyncio.get_running_loop().time() + 60
    async with AdapterLeases(platform.residency).of(FJELLVIK).lease(record, deadline) as lease:
        name = lease.engine_name
    client: EngineClient = platform.engine.client()
    assert name in await SglangLora(OPERATOR, lambda: client).loaded()
    await platform.shop.registry.revoke(OPERATOR, FJELLVIK.tenant_id, Reference("support"))
    assert name not in await SglangLora(OPERATOR, lambda: client).loaded()
    namespace = platform.namespaces.derive(FJELLVIK, SCOPE)
    job = Job(secrets.token_hex(16), [{"role": "user", "content": "Hello"}], 2, {}, name)
    with pytest.raises(EngineUnavailableError):
        async for _ in client.of(FJELLVIK, namespace).stream(job):
            pass
    other = await platform.shop.add(VOLTBAY)
    assert (await platform.ask(VOLTBAY, other, "Hello"))[1].completion == 3


async def test_a_twin_that_only_unloads_is_caught(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SGLang remembers where it loaded from: if that is still there, unloading revokes nothing."""

    @contextmanager
    def kept(memory: PrivateMemory) -> Generator[Path, None, None]:
        folder = tmp_path / secrets.token_hex(8)
        folder.mkdir()
        yield folder

    monkeypatch.setattr(PrivateMemory, "folder", kept)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await test_what_was_revoked_is_not_brought_back_by_whoever_knows_its_name(platform)
    # What came back is nobody's: the next gateway's first load would unload it.
    lora = SglangLora(OPERATOR, platform.engine.client)
    for name in await lora.loaded():
        await lora.unload(name)


@dataclass
class Grep:
    """Which files of these folders hold some bytes; of those that were written since it began."""

    needle: bytes
    folders: Callable[[], list[Path]]
    since: float = field(default_factory=time.time)

    def found(self) -> list[Path]:
        return [path for folder in self.folders() for path in _files(folder) if self._in(path)]

    def _in(self, path: Path) -> bool:
        try:
            written = path.is_file() and path.stat().st_mtime >= self.since - 1
            return written and self.needle in path.read_bytes()
        except OSError:  # another program's, or gone meanwhile
            return False


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
    for root, _, names in os.walk(folder):
        yield from (Path(root, name) for name in names)


def _temporary(memory: Path) -> list[Path]:
    """What lies in folders for temporary files, but for `memory`, and what other tests have there.

    Those of the tests may be in memory themselves (`tests/conftest.py`); they stand for a disk.
    """
    others = ("pytest-of-", "pg-")
    folders = {Path("/tmp"), Path(tempfile.gettempdir())}
    found = [path for folder in folders for path in folder.iterdir() if path != memory]
    return [path for path in found if not path.name.startswith(others)]


async def _plaintext(platform: Platform, memory: PrivateMemory) -> tuple[int, list[Path]]:
    """An adapter is loaded, asked and revoked: how many files in memory held its weights while it
    was loaded, and which on disk did, then or afterwards."""
    upload = platform.shop.upload(seed=secrets.randbits(60))
    weights = (upload.folder / WEIGHTS_FILE).read_bytes()
    record = await platform.shop.registry.of(FJELLVIK).add(upload)
    shutil.rmtree(upload.folder)  # the merchant's own
    needle, engine = weights[-512:-256], platform.engine.log.parent.parent
    disk = Grep(needle, lambda: [platform.shop.folder, engine, *_temporary(memory._root)])
    in_memory = Grep(needle, lambda: [memory._root])
    seen: list[tuple[int, list[Path]]] = []
    load = SglangLora.load

    async def watched(lora: SglangLora, name: str, folder: Path) -> None:
        await load(lora, name, folder)
        seen.append((len(in_memory.found()), disk.found()))

    with patch.object(SglangLora, "load", watched):
        await platform.ask(FJELLVIK, record, "Hello")
    ((held, during),) = seen
    afterwards = disk.found()
    assert in_memory.found() == []
    await platform.shop.registry.revoke(OPERATOR, FJELLVIK.tenant_id, Reference("support"))
    return held, [*during, *afterwards, *disk.found()]


async def test_plaintext_is_in_memory_for_the_load_and_on_no_disk(platform: Platform) -> None:
    held, on_disk = await _plaintext(platform, platform.residency._parts.memory)
    assert held == 1  # the positive control: the search finds them where they may be
    assert on_disk == []


async def test_a_twin_that_loads_from_a_folder_on_disk_is_caught(
    platform: Platform, tmp_path: Path
) -> None:
    disk = PrivateMemory(tmp_path / "disk")
    disk._root.mkdir()
    platform.residency._parts = replace(platform.residency._parts, memory=disk)
    held, on_disk = await _plaintext(platform, disk)
    assert (held, len(on_disk)) == (1, 1)


async def test_a_revocation_ends_a_running_stream(platform: Platform) -> None:
    record = await platform.shop.add(FJELLVIK)

    async def answer() -> None:
        deadline = asyncio.get_running_loop().time() + 60
        async with AdapterLeases(platform.residency).of(FJELLVIK).lease(record, deadline) as lease:
            namespace = platform.namespaces.derive(FJELLVIK, SCOPE)
            messages = [{"role": "user", "content": "Tell me everything."}]
            sampling = {"temperature": 0, "ignore_eos": True}
            job = Job(secrets.token_hex(16), messages, 7_000, sampling, lease.engine_name)
            stream = platform.engine.client().of(FJELLVIK, namespace).stream(job)
            async for _ in lease.guarded(stream):
                begun.set()

    begun = asyncio.Event()
    answering = asyncio.create_task(answer())
    async with asyncio.timeout(60):
        await begun.wait()
        await platform.shop.registry.revoke(OPERATOR, FJELLVIK.tenant_id, Reference("support"))
        with pytest.raises(Exception, match="out of service"):
            await answering
        assert await SglangLora(OPERATOR, platform.engine.client).loaded() == []


@pytest.mark.parametrize("kind", ["float16", "seven modules", "highest rank"])
async def test_what_the_check_lets_through_sglang_loads(
    local_engine: LocalEngine, tmp_path: Path, kind: str
) -> None:
    modules = list(BASE.shapes) if kind == "seven modules" else ["q_proj", "v_proj"]
    rank = 16 if kind == "highest rank" else 4
    weights = tensors(rank=rank, modules=modules)
    if kind == "float16":
        weights = {name: values.astype("float16") for name, values in weights.items()}
    content = config(r=rank, target_modules=modules)
    folder = write(tmp_path / "a", content=content, weights=weights).folder
    engine, name = SglangLora(OPERATOR, local_engine.client), secrets.token_hex(32)
    await engine.load(name, folder)
    await engine.unload(name)
