"""Two tenants' adapters side by side on one store: sealed, signed, each its own."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import fsspec
import pytest
from sqlalchemy import text

from isolation.access import restricted_to
from isolation.context import TenantContext
from isolation.errors import CrossTenantError, RestrictedKeyError, TenantSuspendedError
from isolation.testing.contexts import tenant_for_tests
from serving.adapters.errors import (
    AdapterLimitError,
    AdapterNotFoundError,
    AdapterRefusedError,
    AdapterTamperedError,
    AdapterUnavailableError,
)
from serving.adapters.manifest import ManifestSigner, decoded
from serving.adapters.names import Reference
from serving.adapters.ports import AdapterRecord
from serving.adapters.registry import AdapterRegistry
from serving.adapters.weights import WEIGHTS_FILE
from serving.control import adapters as index_module
from serving.control.tenants import TenantRegistry
from serving.key_wrapping import KeyFile, KeyNotOpenedError
from tests.adapters.conftest import FJELLVIK, OPERATOR, VOLTBAY, Shop, make_shop


def _objects(shop: Shop) -> dict[str, bytes]:
    """Everything in the store."""
    files, root = fsspec.url_to_fs(shop.url, use_listings_cache=False, skip_instance_cache=True)
    return {path: files.cat_file(path) for path in files.find(root)}


def _change(shop: Shop, path: str, data: bytes) -> None:
    files, _ = fsspec.url_to_fs(shop.url, skip_instance_cache=True)
    files.makedirs(path.rpartition("/")[0], exist_ok=True)
    files.pipe_file(path, data)


async def _placed(shop: Shop, ctx: TenantContext, record: AdapterRecord) -> bytes:
    folder = shop.placed()
    await shop.registry.of(ctx).place(record, folder)
    return (folder / WEIGHTS_FILE).read_bytes()


async def test_what_comes_out_is_what_was_put_in_and_versions_count(shop: Shop) -> None:
    upload = shop.upload()
    first = await shop.registry.of(FJELLVIK).add(upload)
    second = await shop.add(FJELLVIK, seed=1)
    assert await _placed(shop, FJELLVIK, first) == (upload.folder / WEIGHTS_FILE).read_bytes()
    assert (first.version, second.version) == (1, 2)
    found = await shop.registry.of(FJELLVIK).find(Reference("support"))
    assert found == second
    manifest = decoded(first.manifest)
    assert (manifest.rank, manifest.base_model, manifest.created_by) == (
        4,
        "smollm2-135m-instruct",
        "test-fjellvik",
    )
    weights = (upload.folder / WEIGHTS_FILE).read_bytes()
    assert manifest.files[WEIGHTS_FILE].sha256 == hashlib.sha256(weights).hexdigest()


async def _crosses(shop: Shop) -> bool:
    """Whether one tenant sees, changes or removes the other's adapter of the same name."""
    mine = await shop.add(FJELLVIK)
    theirs = shop.registry.of(VOLTBAY)
    seen = await theirs.find(Reference("support")) or await theirs.versions()
    everywhere = Reference("support")
    revoked = shop.registry.revoke(OPERATOR, VOLTBAY.tenant_id, everywhere)
    for change in (revoked, theirs.delete(everywhere)):
        with suppress(AdapterNotFoundError):
            seen = await change or seen
    kept = await shop.registry.of(FJELLVIK).find(Reference("support"))
    return bool(seen) or kept != mine


async def test_a_tenant_sees_and_changes_its_own_alone(shop: Shop) -> None:
    assert not await _crosses(shop)


async def test_a_twin_that_forgets_the_tenant_is_caught(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everybodys(tenant: object, reference: Reference | None = None) -> object:
        return index_module.AdapterVersionRow.version > 0

    monkeypatch.setattr(index_module, "_mine", everybodys)
    assert await _crosses(shop)


async def test_the_same_name_is_two_adapters(shop: Shop) -> None:
    mine, theirs = await shop.add(FJELLVIK, seed=1), await shop.add(VOLTBAY, seed=2)
    assert await _placed(shop, FJELLVIK, mine) != await _placed(shop, VOLTBAY, theirs)
    with pytest.raises(CrossTenantError):
        await _placed(shop, VOLTBAY, mine)
    forged = replace(mine, tenant=VOLTBAY.tenant_id)
    with pytest.raises(AdapterNotFoundError):
        await _placed(shop, VOLTBAY, forged)


async def test_the_store_alone_gives_nothing_away(shop: Shop) -> None:
    canary = shop.upload("canary-name")
    weights = (canary.folder / WEIGHTS_FILE).read_bytes()
    await shop.registry.of(FJELLVIK).add(canary)
    await shop.add(VOLTBAY, "canary-name")
    objects = _objects(shop)
    assert len(objects) == 4
    everything = b"".join([path.encode() + data for path, data in objects.items()])
    stored = everything.replace(str(shop.folder).encode(), b"")
    secrets = (b"fjellvik", b"voltbay", b"canary-name", b"safetensors", b"q_proj", b"LORA", b"lora")
    for secret in (*secrets, weights[-64:], weights[2_000:2_032]):
        assert secret not in stored
    # The positive control: the same search finds them in what was uploaded.
    assert weights[-64:] in weights
    assert b"q_proj" in weights
    # Equal weights of two tenants do not look equal.
    assert len(set(objects.values())) == 4


async def test_a_changed_moved_cut_or_missing_file_is_not_loaded(shop: Shop) -> None:
    mine, other = await shop.add(FJELLVIK, seed=1), await shop.add(FJELLVIK, seed=2)
    objects = _objects(shop)
    own = sorted(path for path in objects if mine.folder in path)
    others = sorted(path for path in objects if other.folder in path)
    path = max(own, key=lambda path: len(objects[path]))
    sealed = objects[path]
    for data in (
        sealed[:-1] + bytes([sealed[-1] ^ 1]),
        sealed[:-1],
        sealed[: len(sealed) // 2],
        b"",
        b"x" + sealed[1:],
        objects[max(others, key=lambda path: len(objects[path]))],
        objects[min(own, key=lambda path: len(objects[path]))],
    ):
        _change(shop, path, data)
        with pytest.raises(AdapterTamperedError):
            await _placed(shop, FJELLVIK, mine)
    _change(shop, path, sealed)
    await _placed(shop, FJELLVIK, mine)
    files, _ = fsspec.url_to_fs(shop.url, skip_instance_cache=True)
    files.rm(path)
    with pytest.raises(AdapterTamperedError):
        await _placed(shop, FJELLVIK, mine)


async def test_a_row_that_was_changed_in_the_database_is_not_loaded(shop: Shop) -> None:
    mine, theirs = await shop.add(FJELLVIK, seed=1), await shop.add(VOLTBAY, seed=2)
    swap = "UPDATE adapter_versions SET {} = :value WHERE tenant_id = 'voltbay'"
    for column, value, was in (
        ("manifest", mine.manifest, theirs.manifest),
        ("manifest", theirs.manifest.replace(b'"rank":4', b'"rank":8'), theirs.manifest),
        ("signature", bytes(64), theirs.signature),
        ("wrapped_key", mine.wrapped_key, theirs.wrapped_key),
        ("folder", mine.folder, theirs.folder),
    ):
        async with shop.database.transaction() as session:
            await session.execute(text(swap.format(column)), {"value": value})
        with pytest.raises(AdapterTamperedError):
            await _placed(shop, VOLTBAY, theirs)
        async with shop.database.transaction() as session:
            await session.execute(text(swap.format(column)), {"value": was})
    await _placed(shop, VOLTBAY, theirs)


async def test_an_older_versions_files_are_not_loaded_as_the_newer_one(shop: Shop) -> None:
    """Key and folder of the tenant's own older version, which both open, in the newer one's row."""
    old, new = await shop.add(FJELLVIK, seed=1), await shop.add(FJELLVIK, seed=2)
    moved = "UPDATE adapter_versions SET wrapped_key = :k, folder = :f WHERE version = 2"
    async with shop.database.transaction() as session:
        await session.execute(text(moved), {"k": old.wrapped_key, "f": old.folder})
    with pytest.raises(AdapterTamperedError):
        await _placed(shop, FJELLVIK, new)


async def test_all_of_the_others_row_gives_nothing_either(shop: Shop) -> None:
    """Manifest, signature, key and folder of another tenant: signed, and still not this one's."""
    mine, theirs = await shop.add(FJELLVIK, seed=1), await shop.add(VOLTBAY, seed=2)
    stolen = "UPDATE adapter_versions SET manifest=:m, signature=:s, wrapped_key=:k, folder=:f"
    values = {
        "m": mine.manifest,
        "s": mine.signature,
        "k": mine.wrapped_key,
        "f": mine.folder,
    }
    async with shop.database.transaction() as session:
        await session.execute(text(stolen + " WHERE tenant_id = 'voltbay'"), values)
    with pytest.raises(AdapterTamperedError):
        await _placed(shop, VOLTBAY, theirs)


async def test_a_refused_upload_leaves_nothing(shop: Shop) -> None:
    upload = shop.upload()
    (upload.folder / WEIGHTS_FILE).write_bytes(b"\x80\x04pickle")
    with pytest.raises(AdapterRefusedError):
        await shop.registry.of(FJELLVIK).add(upload)
    assert _objects(shop) == {}
    assert await shop.registry.of(FJELLVIK).versions() == []


async def test_a_store_that_fails_half_way_leaves_the_old_state(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await shop.add(FJELLVIK)
    calls = 0
    seal = shop.parts.files._objects.writing

    def fails_at_the_second(folder: str, name: str) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise AdapterUnavailableError
        return seal(folder, name)

    monkeypatch.setattr(shop.parts.files._objects, "writing", fails_at_the_second)
    with pytest.raises(AdapterUnavailableError):
        await shop.add(FJELLVIK, seed=1)
    monkeypatch.undo()
    assert await shop.registry.of(FJELLVIK).versions() == [old]
    assert all(old.folder in path for path in _objects(shop))
    assert (await shop.add(FJELLVIK, seed=1)).version == 3


async def test_a_restricted_key_uploads_and_deletes_nothing(shop: Shop) -> None:
    await shop.add(FJELLVIK)
    restricted = shop.registry.of(tenant_for_tests("fjellvik", access=restricted_to(["staff"])))
    with pytest.raises(RestrictedKeyError):
        await restricted.add(shop.upload())
    with pytest.raises(RestrictedKeyError):
        await restricted.delete(Reference("support"))


async def test_a_tenant_keeps_a_bounded_number(shop: Shop) -> None:
    for _ in range(5):
        await shop.add(FJELLVIK)
    with pytest.raises(AdapterLimitError):
        await shop.add(FJELLVIK)
    await shop.add(VOLTBAY)
    await shop.registry.of(FJELLVIK).delete(Reference("support", 1))
    assert (await shop.add(FJELLVIK)).version == 6


async def test_a_revoked_version_is_listed_and_never_found_or_placed(shop: Shop) -> None:
    first, second = await shop.add(FJELLVIK), await shop.add(FJELLVIK, seed=1)
    own = shop.registry.of(FJELLVIK)
    revoke = shop.registry.revoke
    revoked = await revoke(OPERATOR, FJELLVIK.tenant_id, Reference("support", 2))
    assert [record.version for record in revoked] == [2]
    assert await own.find(Reference("support", 2)) is None
    assert await own.find(Reference("support")) == first
    assert [r.state for r in await own.versions("support")] == ["active", "revoked"]
    with pytest.raises(AdapterNotFoundError):
        await _placed(shop, FJELLVIK, second)
    with pytest.raises(AdapterNotFoundError):
        await revoke(OPERATOR, FJELLVIK.tenant_id, Reference("support", 2))


async def test_a_deleted_version_is_gone_from_store_and_database(shop: Shop) -> None:
    record, kept = await shop.add(FJELLVIK), await shop.add(VOLTBAY)
    await shop.registry.of(FJELLVIK).delete(Reference("support"))
    assert all(kept.folder in path for path in _objects(shop))
    data = b"".join(path.read_bytes() for path in (shop.folder / "data").iterdir())
    assert record.wrapped_key not in data
    assert kept.wrapped_key in data
    assert (await shop.add(FJELLVIK)).version == 2


async def test_a_deleted_tenants_bytes_open_to_nobody_even_with_the_master_key(shop: Shop) -> None:
    record, kept = await shop.add(FJELLVIK), await shop.add(VOLTBAY)
    before = _objects(shop)
    await TenantRegistry(shop.database).begin_deletion(OPERATOR, FJELLVIK.tenant_id)
    assert await shop.keys.purge(OPERATOR, FJELLVIK.tenant_id)
    assert await shop.registry.purge(OPERATOR, FJELLVIK.tenant_id) == 1
    assert all(kept.folder in path for path in _objects(shop))
    data = b"".join(path.read_bytes() for path in (shop.folder / "data").iterdir())
    assert record.wrapped_key not in data
    with pytest.raises(TenantSuspendedError):
        await shop.add(FJELLVIK)
    # Backups of the store and of the row: what is missing is the tenant's key, and that is enough.
    for path, sealed in before.items():
        _change(shop, path, sealed)
    async with shop.database.transaction() as session:
        await session.execute(text("UPDATE tenants SET state = 'active'"))
        values = {name: value for name, value in asdict(record).items() if name != "tenant"}
        session.add(index_module.AdapterVersionRow(tenant_id="fjellvik", **values))
    with pytest.raises(AdapterTamperedError):
        await _placed(shop, FJELLVIK, record)
    assert await _placed(shop, VOLTBAY, kept)


async def test_after_the_master_key_was_rotated_the_new_one_alone_opens(shop: Shop) -> None:
    record = await shop.add(FJELLVIK)
    weights = await _placed(shop, FJELLVIK, record)
    rotated = make_shop(shop.database, shop.url, shop.folder)
    rotated.keys._master = KeyFile(b"n" * 32)
    new = ManifestSigner(b"t" * 32)
    rotated.registry = AdapterRegistry(replace(rotated.parts, signer=new, keys=rotated.keys))
    with pytest.raises(AdapterTamperedError):
        await _placed(rotated, FJELLVIK, record)
    assert await rotated.keys.rewrap(OPERATOR, KeyFile(b"m" * 32)) == 1
    assert await rotated.registry.resign(OPERATOR, shop.parts.signer) == 1
    assert await _placed(rotated, FJELLVIK, record) == weights
    with pytest.raises(KeyNotOpenedError):
        await shop.keys.of(FJELLVIK).derived("adapter data keys")
    assert await rotated.keys.rewrap(OPERATOR, KeyFile(b"m" * 32)) == 0


_UPLOADER = """
import asyncio, os, sys
from pathlib import Path
from serving.adapters import sealed_files
from serving.adapters.sealing import seal
from serving.control.database import Database
from tests.adapters.conftest import FJELLVIK, make_shop

async def main():
    database = await Database.open(sys.argv[1])
    shop = make_shop(database, sys.argv[2], Path(sys.argv[3]))
    written = 0
    def killed_at_the_second(*arguments):
        nonlocal written
        seal(*arguments)
        written += 1
        if written == 2:
            os.kill(os.getpid(), 9)
    sealed_files.seal = killed_at_the_second
    await shop.add(FJELLVIK, seed=1)

asyncio.run(main())
"""


async def test_a_kill_in_the_middle_leaves_the_old_state_and_the_sweep_cleans_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await shop.add(FJELLVIK)
    database = f"sqlite+aiosqlite:///{shop.folder}/data/bulkhead.db"
    arguments = [sys.executable, "-c", _UPLOADER, database, shop.url, str(shop.folder / "other")]
    killed = subprocess.run(arguments, cwd=Path(__file__).parents[2], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    own = shop.registry.of(FJELLVIK)
    assert await own.versions() == [old]
    assert await own.find(Reference("support")) == old
    left = [path for path in _objects(shop) if old.folder not in path]
    assert left
    # Not at once: it could be another gateway's upload that is still running.
    assert await shop.registry.sweep(OPERATOR) == 0
    async with shop.database.transaction() as session:
        await session.execute(text("UPDATE adapter_loose_folders SET since = '2001-01-01'"))
    assert await shop.registry.sweep(OPERATOR) == 1
    assert all(old.folder in path for path in _objects(shop))
    assert await _placed(shop, FJELLVIK, old)
