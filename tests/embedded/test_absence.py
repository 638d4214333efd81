"""What is deleted is looked for in the bytes on disk: in the open, and with the master key in hand.

Everything real but the embedding. Controls: the same search finds all of it before.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from isolation.sealing import SealError, TenantCipher
from isolation.tenant_id import TenantId, tenant_id
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Document
from rag.ingest import Ingestor
from rag.reembed import Progress
from rag.retrieval.follow_up import Question
from rag.store.edge.store import EdgeVectorStore
from serving.control.tenant_keys import TenantKeys
from serving.embedded.core import Core, open_core
from serving.key_files import derived_key
from serving.key_wrapping import KeyFile, KeyNotOpenedError, unwrap
from tests.embedded.killed import old, settings
from tests.rag.catalog_in_memory import InMemoryCatalog

GONE, STAYS = tenant_for_tests("acme"), tenant_for_tests("birch")
TEXT, TITLE, NAME, FIELD = "canarytext", "canarytitle", "canaryname", "canaryfield"
_SEALED = re.compile(rb"sealed1:[A-Za-z0-9+/]+={0,2}")


def document(owner: str) -> Document:
    text = f"# Returns\n\n{TEXT}-{owner} says that items are taken back."
    return Document(f"{NAME}-{owner}", f"{TITLE}-{owner}", text, {"field": f"{FIELD}-{owner}"})


@pytest.fixture
async def core(tmp_path: Path) -> AsyncGenerator[Core, None]:
    async with open_core(settings(tmp_path)) as core:
        for ctx in (GONE, STAYS):
            await core.registry.add(core.operator, tenant_id(str(ctx.tenant_id)), "business")
            await core.ingestor.of(ctx).ingest(document(str(ctx.tenant_id)))
        yield core


def in_the_open(core: Core, owner: str, *, under: str = "") -> set[str]:
    """Which canaries of a tenant stand in any file."""
    files = [p for p in (core.settings.data_dir / under).rglob("*") if p.is_file()]
    contents = [path.read_bytes() for path in files]
    wanted = {f"{kind}-{owner}" for kind in (TEXT, TITLE, NAME, FIELD)}
    return {one.split("-")[0] for one in wanted if any(one.encode() in c for c in contents)}


def opened(core: Core, owner: str) -> set[str]:
    """Which canaries somebody finds who has the disk and the master key."""
    folder, wrapping = core.settings.data_dir, derived_key(core.settings, "tenant keys")
    with sqlite3.connect(folder / "bulkhead.db") as database:
        rows = database.execute("select tenant_id, wrapped from tenant_keys").fetchall()
    database.close()
    ciphers = [_cipher(wrapping, tenant, key) for tenant, key in rows]
    sealed = {
        found.decode()
        for path in folder.rglob("*")
        if path.is_file()
        for found in _SEALED.findall(path.read_bytes())
    }
    texts = " ".join(_any(ciphers, one) for one in sealed)
    return {kind for kind in (TEXT, TITLE) if f"{kind}-{owner}" in texts}


def _cipher(wrapping: bytes, tenant: str, wrapped: bytes) -> TenantCipher:
    key = unwrap(wrapping, wrapped, b"bulkhead tenant key\0" + tenant.encode())
    own = HKDF(SHA256(), 32, salt=None, info=b"bulkhead tenant texts").derive(key)
    return TenantCipher(TenantId(tenant), own)


def _any(ciphers: list[TenantCipher], sealed: str) -> str:
    """What follows in the file may look like a part of it."""
    for cipher, length in itertools.product(ciphers, range(len(sealed), len(sealed) - 16, -1)):
        try:
            return cipher.open(sealed[:length])
        except SealError:
            continue
    return ""


async def test_no_text_ever_stands_in_the_vector_store(core: Core) -> None:
    for owner in ("acme", "birch"):
        assert in_the_open(core, owner, under="vectors") == {NAME, FIELD}
        assert opened(core, owner) == {TEXT, TITLE}


async def test_without_sealing_the_text_stands_there(tmp_path: Path) -> None:
    """The control of the test above."""
    store = EdgeVectorStore.open(tmp_path / "vectors", 8)
    await Ingestor(store, InMemoryCatalog(), old()).of(GONE).ingest(document("acme"))
    await store.close()
    contents = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(f"{TEXT}-acme".encode() in content for content in contents)


async def test_a_deleted_tenants_texts_open_for_nobody_at_once(core: Core) -> None:
    await core.deletion.delete(core.operator, GONE.tenant_id)
    assert opened(core, "acme") == set()
    assert in_the_open(core, "acme") <= {NAME, FIELD}
    # Nor anything of it in the database, its log, the spool or the logs.
    for place in core.settings.data_dir.iterdir():
        assert place.name == "vectors" or in_the_open(core, "acme", under=place.name) == set()
    assert opened(core, "birch") == {TEXT, TITLE}


async def test_after_optimize_nothing_of_a_deleted_tenant_is_on_the_disk(core: Core) -> None:
    await core.deletion.delete(core.operator, GONE.tenant_id)
    assert in_the_open(core, "acme", under="vectors") == {NAME, FIELD}
    await core.knowledge.refill(core.operator, old(), Progress(), build_indexes=True)
    assert in_the_open(core, "acme") == opened(core, "acme") == set()
    assert in_the_open(core, "birch", under="vectors") == {NAME, FIELD}
    assert opened(core, "birch") == {TEXT, TITLE}
    assert len(await core.retriever.of(STAYS).search(Question("returns"), limit=5)) == 1


async def test_a_deleted_document_stays_sealed_on_the_disk_until_optimize(core: Core) -> None:
    await core.ingestor.of(GONE).ingest(Document("other", "Other", "Another document."))
    await core.ingestor.of(GONE).delete(f"{NAME}-acme")
    # Its tenant's key lives on: said in docs/decisions/0011.
    assert opened(core, "acme") == {TEXT, TITLE}
    await core.knowledge.refill(core.operator, old(), Progress())
    await core.database.forget_deleted()
    assert in_the_open(core, "acme") == opened(core, "acme") == set()
    assert len(await core.retriever.of(GONE).search(Question("returns"), limit=5)) == 1


async def test_another_master_key_is_refused_at_start(core: Core) -> None:
    await TenantKeys(core.database, KeyFile(derived_key(core.settings, "tenant keys"))).verify(
        core.operator
    )
    with pytest.raises(KeyNotOpenedError):
        await TenantKeys(core.database, KeyFile(b"x" * 32)).verify(core.operator)
