"""Adapters in a whole platform: switched on, deleted with their tenant, through a key rotation."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from isolation.context import TenantContext
from isolation.tenant_id import TenantId
from isolation.testing.contexts import tenant_for_tests
from serving.adapters.ports import AdapterRecord
from serving.adapters.weights import WEIGHTS_FILE
from serving.embedded.adapters import memory_root
from serving.embedded.core import Core, open_core
from serving.errors import StartupError
from serving.key_wrapping import KeyNotOpenedError
from serving.rollout.policy import RolloutPolicy
from serving.settings import Settings
from tests.adapters.files import write
from tests.embedded.conftest import Gateway

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


def _settings(folder: Path, model: Path, **more: object) -> Settings:
    return Settings(data_dir=folder / "data", model_path=model, **more)  # type: ignore[arg-type]


@asynccontextmanager
async def _core(settings: Settings) -> AsyncGenerator[Core, None]:
    async with open_core(settings) as core:
        known = {tenant.id for tenant in await core.registry.list(core.operator)}
        for ctx in () if known else (FJELLVIK, VOLTBAY):
            await core.registry.add(core.operator, ctx.tenant_id, "business")
        yield core


async def _add(core: Core, ctx: TenantContext, folder: Path) -> AdapterRecord:
    upload = write(folder / f"upload-{ctx.tenant_id}")
    return await core.adapters.registry.of(ctx).add(upload)


async def _opens(core: Core, ctx: TenantContext, record: AdapterRecord, folder: Path) -> bool:
    placed = folder / os.urandom(4).hex()
    placed.mkdir()
    await core.adapters.registry.of(ctx).place(record, placed)
    return (placed / WEIGHTS_FILE).exists()


def _stored(settings: Settings) -> list[Path]:
    return [path for path in (settings.data_dir / "adapters").rglob("*") if path.is_file()]


async def test_a_tenants_deletion_takes_its_adapters_and_its_key(
    tiny_model: Path, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, tiny_model)
    async with _core(settings) as core:
        gone, kept = [await _add(core, ctx, tmp_path) for ctx in (FJELLVIK, VOLTBAY)]
        for ctx in (FJELLVIK, VOLTBAY):
            own = core.adapters.rollouts.rollouts.of(ctx)
            await own.propose("support", 2, 10, RolloutPolicy())
        await core.deletion.delete(core.operator, TenantId("fjellvik"))
        assert all(kept.folder in str(path) for path in _stored(settings))
        assert len(_stored(settings)) == 2
        assert await _opens(core, VOLTBAY, kept, tmp_path)
        (left,) = await core.adapters.rollouts.rollouts.everybodys(core.operator)
        assert left.tenant == "voltbay"
    written = b"".join(path.read_bytes() for path in settings.data_dir.glob("bulkhead.db*"))
    assert gone.wrapped_key not in written
    assert kept.wrapped_key in written
    assert b"support" in written  # the positive control: a name that is still there is found


async def test_the_data_folder_shows_no_weights_and_memory_is_empty_afterwards(
    tiny_model: Path, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, tiny_model)
    async with _core(settings) as core:
        record = await _add(core, FJELLVIK, tmp_path)
        assert await _opens(core, FJELLVIK, record, tmp_path)
        assert memory_root(settings).exists()
    assert not memory_root(settings).exists()
    weights = (tmp_path / "upload-fjellvik" / WEIGHTS_FILE).read_bytes()
    for path in settings.data_dir.rglob("*"):
        if path.is_file():
            assert weights[3_000:3_032] not in path.read_bytes()


async def test_adapters_live_through_a_rotation_of_the_master_key(
    tiny_model: Path, tmp_path: Path
) -> None:
    old, new = SecretStr("o" * 40), SecretStr("n" * 40)
    async with _core(_settings(tmp_path, tiny_model, master_key=old)) as core:
        record = await _add(core, FJELLVIK, tmp_path)
    rotated = _settings(tmp_path, tiny_model, master_key=new, previous_master_key=old)
    async with _core(rotated) as core:
        assert await _opens(core, FJELLVIK, record, tmp_path)
    async with _core(_settings(tmp_path, tiny_model, master_key=new)) as core:
        assert await _opens(core, FJELLVIK, record, tmp_path)
    with pytest.raises(KeyNotOpenedError, match="BULKHEAD_MASTER_KEY"):
        async with _core(_settings(tmp_path, tiny_model, master_key=old)):
            pass


async def test_memory_that_is_a_disk_is_refused_at_start(
    tiny_model: Path, tmp_path: Path, cache: pytest.Cache
) -> None:
    disk = cache.mkdir("disk")
    with pytest.raises(StartupError, match="BULKHEAD_ADAPTER_MEMORY"):
        async with _core(_settings(tmp_path, tiny_model, adapter_memory=disk)):
            pass


async def test_switched_off_a_deletion_still_takes_what_was_stored_before(
    tiny_model: Path, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, tiny_model)
    async with _core(settings) as core:
        await _add(core, FJELLVIK, tmp_path)
    async with _core(_settings(tmp_path, tiny_model, adapters="off")) as core:
        assert core.adapters.parts is None
        await core.deletion.delete(core.operator, TenantId("fjellvik"))
        assert await core.adapters.registry.everybodys(core.operator) == []
    assert _stored(settings) == []


def test_adapters_are_added_listed_shown_revoked_and_deleted_from_the_command_line(
    quick_gateway: Gateway, tiny_model: Path, tmp_path: Path
) -> None:
    quick_gateway.environment["BULKHEAD_MODEL_PATH"] = str(tiny_model)
    quick_gateway.start()
    quick_gateway.until("/healthz")
    quick_gateway.forked("tenant", "add", "acme")
    folder = str(write(tmp_path / "support").folder)
    for version in (1, 2):
        added = quick_gateway.forked("adapter", "add", "acme", "support", folder)
        assert f"support@{version} added (rank 4, F32)" in added.stdout, added.stderr
    assert "support@2" in quick_gateway.forked("adapter", "list").stdout
    assert "rank" in quick_gateway.forked("adapter", "show", "acme", "support@1").stdout
    begun = quick_gateway.forked("adapter", "rollout", "start", "acme", "support", "2")
    assert "support@1 -> @2 running" in begun.stdout, begun.stderr
    assert "running" in quick_gateway.forked("adapter", "rollout", "status", "acme").stdout
    trail = quick_gateway.forked("adapter", "rollout", "status", "acme", "support").stdout
    assert [step["to"] for step in json.loads(trail)["steps"]] == ["proposed", "running"]
    stopped = quick_gateway.forked("adapter", "rollout", "stop", "acme", "support")
    assert "it means @1" in stopped.stdout
    again = quick_gateway.forked("adapter", "rollout", "stop", "acme", "support")
    assert again.returncode == 1
    freed = quick_gateway.forked("adapter", "rollout", "release", "acme", "support")
    assert "support is free again" in freed.stdout, freed.stderr
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "How long?"}')
    wrong = quick_gateway.forked(
        "adapter", "rollout", "evaluate", "acme", "support", str(questions)
    )
    assert (wrong.returncode, "Line 1: facts" in wrong.stderr) == (1, True)
    revoked = quick_gateway.forked("adapter", "revoke", "acme", "support@1")
    assert "1 versions" in revoked.stdout
    deleted = quick_gateway.forked("adapter", "delete", "acme", "support", "--yes")
    assert "2 versions" in deleted.stdout
    refused = quick_gateway.forked("adapter", "add", "acme", "support", str(tmp_path))
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
