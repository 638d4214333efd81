"""Masked documents, with every part real but the embedding: what lies where, who reads it, and what
is left when they go."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from evals.performance.hashed_embedder import HashedEmbedder
from isolation.access import restricted_to
from isolation.context import TenantContext
from isolation.errors import ContentBlockedError
from isolation.masking.detector import PresidioDetector
from isolation.masking.entities import VERSION
from isolation.masking.findings import Finding
from isolation.masking.policy import MaskingPolicy
from isolation.masking.threaded import Threaded
from isolation.masking.workers import WorkersOnDemand
from isolation.sealing import SealError
from isolation.tenant_id import tenant_id
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Document, Passage
from rag.export import DocumentBegins, Exporter
from rag.reembed import Progress
from rag.retrieval.follow_up import Question
from rag.transfer import TenantTransfer
from serving.embedded.core import Core, open_core, runtime_without_engine
from serving.gateway.app import create_app
from tests.embedded.killed import new, old, settings

ACME, BIRCH = tenant_for_tests("acme"), tenant_for_tests("birch")
SUPPORT = tenant_for_tests("acme", access=restricted_to(["support"]))
NAMES = {"acme": "Maria Lopez", "birch": "Peter Novak"}
MAILS = {"acme": "maria.lopez@acme.example", "birch": "peter.novak@birch.example"}
MASKED = MaskingPolicy.model_validate({"documents": {}})


def document(owner: str, name: str = "complaint") -> Document:
    text = (
        f"# Returns\n\nMy name is {NAMES[owner]} and I returned the tent after 30 days.\n\n"
        f"Please write to {MAILS[owner]} about the refund of the tent."
    )
    return Document(name, "Complaint", text)


async def put(core: Core, ctx: TenantContext, policy: MaskingPolicy, *named: Document) -> None:
    await core.policies.set(core.operator, tenant_id(str(ctx.tenant_id)), policy)
    for one in named or (document(str(ctx.tenant_id)),):
        await core.ingestor.of(ctx).ingest(one)


@pytest.fixture(scope="module")
def presidio() -> Iterator[Threaded]:
    """Loaded once for all tests; workers of their own would take seconds in each."""
    analyzer = Threaded(PresidioDetector(), VERSION)
    yield analyzer
    analyzer.close()


@pytest.fixture
async def core(
    tmp_path: Path, presidio: Threaded, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Core, None]:
    async def find(_: WorkersOnDemand, text: str, locale: str | None) -> list[Finding]:
        return await presidio.find(text, locale)

    monkeypatch.setattr(WorkersOnDemand, "find", find)
    async with open_core(settings(tmp_path / "data")) as core:
        for ctx in (ACME, BIRCH):
            await core.registry.add(core.operator, tenant_id(str(ctx.tenant_id)), "business")
        yield core


async def search(core: Core, ctx: TenantContext = ACME) -> list[Passage]:
    return await core.retriever.of(ctx).search(Question("refund of the tent"), limit=5)


def rows(core: Core) -> list[bytes]:
    """What the vaults hold, sealed."""
    path = core.settings.data_dir / "bulkhead.db"
    with sqlite3.connect(path) as database:
        found = [row[0] for row in database.execute("select sealed from document_vaults")]
    database.close()
    return found


def on_disk(core: Core, wanted: Sequence[bytes]) -> int:
    files = [p for p in core.settings.data_dir.rglob("*") if p.is_file()]
    contents = [path.read_bytes() for path in files]
    return sum(any(one in content for content in contents) for one in wanted)


async def test_what_is_embedded_and_indexed_and_stored_is_masked(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[str] = []
    embed = HashedEmbedder.embed

    async def seen(self: HashedEmbedder, texts: Sequence[str]) -> list[list[float]]:
        embedded.extend(texts)
        return await embed(self, texts)

    monkeypatch.setattr(HashedEmbedder, "embed", seen)
    await put(core, ACME, MASKED)
    await put(core, BIRCH, MaskingPolicy())
    assert NAMES["acme"] not in str(embedded)
    assert "<PERSON_1>" in str(embedded)
    assert NAMES["birch"] in str(embedded)  # the control: birch masks nothing
    engine = core.knowledge.engine
    for ctx, masked in ((ACME, True), (BIRCH, False)):
        (stored,) = await engine.of(ctx).get("complaint")
        cipher = await core.knowledge.private.keys.cipher(ctx)
        assert (NAMES[str(ctx.tenant_id)] not in cipher.open(stored.text)) is masked
    values = [value.encode() for value in (NAMES["acme"], MAILS["acme"])]
    assert on_disk(core, values) == 0
    assert on_disk(core, rows(core)) == len(rows(core)) == 1


async def test_whoever_may_read_them_gets_the_values_and_a_model_does_not(core: Core) -> None:
    await put(core, ACME, MASKED)
    (found,) = await search(core)
    assert NAMES["acme"] in found.text
    assert found.masked is not None
    assert core.masking is not None
    request = await core.masking.masker.mask(ACME, ["What about the tent?"], [found.masked])
    assert NAMES["acme"] not in str(request.documents)
    assert request.vault.restore(ACME, request.documents[0]) == found.text


async def test_a_key_without_the_permission_reads_of_which_kind_they_are(core: Core) -> None:
    unrestricted = MaskingPolicy.model_validate({"documents": {}, "reveal": "unrestricted"})
    await put(core, ACME, unrestricted)
    (found,) = await search(core, SUPPORT)
    assert "My name is [person]" in found.text
    assert NAMES["acme"] not in repr(found) + str(found.masked and found.masked.values)
    (found,) = await search(core)
    assert NAMES["acme"] in found.text
    await core.policies.set(core.operator, tenant_id("acme"), MASKED)
    (found,) = await search(core, SUPPORT)  # the control
    assert NAMES["acme"] in found.text


async def test_values_that_are_not_to_be_kept_are_nowhere(core: Core) -> None:
    await put(core, ACME, MaskingPolicy.model_validate({"documents": {}, "originals": "none"}))
    (found,) = await search(core)
    assert "My name is [person]" in found.text


async def test_a_deleted_documents_vault_is_gone_from_the_disk_at_once(core: Core) -> None:
    await put(core, ACME, MASKED, document("acme"), document("acme", "other"))
    before = rows(core)
    await core.ingestor.of(ACME).delete("complaint")
    left = rows(core)
    gone = [row for row in before if row not in left]
    assert len(before) == 2
    assert len(left) == on_disk(core, left) == 1
    assert on_disk(core, gone) == 0


async def test_a_deleted_tenants_vaults_are_gone_and_the_others_are_not(core: Core) -> None:
    await put(core, ACME, MASKED)
    of_acme = rows(core)
    await put(core, BIRCH, MASKED)
    assert on_disk(core, of_acme) == 1
    await core.deletion.delete(core.operator, tenant_id("acme"))
    assert on_disk(core, of_acme) == 0
    (found,) = await search(core, BIRCH)
    assert NAMES["birch"] in found.text


async def test_a_vault_that_is_moved_to_another_tenant_or_chunk_does_not_open(core: Core) -> None:
    await put(core, ACME, MASKED)
    await put(core, BIRCH, MASKED)
    path = core.settings.data_dir / "bulkhead.db"
    # Of the same tenant, from one chunk to another; then of one tenant to the other.
    await put(core, ACME, MASKED, Document("other", "Other", "Peter Novak sent the tent back."))
    for source, target in (("other", "complaint"), ("birch", "acme")):
        with sqlite3.connect(path) as database:
            database.execute(
                "update document_vaults set sealed = (select sealed from document_vaults v "
                "where ? in (v.document_id, v.tenant_id)) where ? in (document_id, tenant_id)",
                (source, target),
            )
        database.close()
        with pytest.raises(SealError):
            await search(core)


async def test_a_new_version_takes_the_old_ones_values_with_it(core: Core) -> None:
    await put(core, ACME, MASKED)
    (before,) = rows(core)
    changed = Document("complaint", "Complaint", "Peter Novak wants a refund of the tent, too.")
    await put(core, ACME, MASKED, changed)
    assert on_disk(core, [before]) == 0
    (found,) = await search(core)
    assert found.text.endswith("Peter Novak wants a refund of the tent, too.")


async def test_another_policy_makes_the_same_document_anew(core: Core) -> None:
    own = core.ingestor.of(ACME)
    await put(core, ACME, MaskingPolicy())
    assert (await own.ingest(document("acme"))).status == "unchanged"
    for policy, masked in ((MASKED, 1), (MaskingPolicy(), 0)):
        await core.policies.set(core.operator, tenant_id("acme"), policy)
        assert (await own.ingest(document("acme"))).status == "replaced"
        assert (await own.ingest(document("acme"))).status == "unchanged"
        assert len(rows(core)) == masked


async def test_a_blocked_kind_refuses_the_document_and_leaves_the_old_one(core: Core) -> None:
    await put(core, ACME, MASKED)
    blocked = MaskingPolicy.model_validate({"documents": {"EMAIL_ADDRESS": "block"}})
    with pytest.raises(ContentBlockedError):
        await put(core, ACME, blocked)
    assert NAMES["acme"] in (await search(core))[0].text


async def test_reembedding_and_optimizing_leave_the_vaults(core: Core) -> None:
    await put(core, ACME, MASKED)
    kept = rows(core)
    for embedder in (old(), new()):
        await core.knowledge.refill(core.operator, embedder, Progress())
        assert rows(core) == kept
        (found,) = await search(core)
        assert NAMES["acme"] in found.text
        assert found.masked is not None
    await core.ingestor.of(ACME).delete("complaint")
    assert rows(core) == []


async def _exported(core: Core, ctx: TenantContext) -> str:
    pieces = [piece async for piece in Exporter(core.ingestor, core.spool).pieces(ctx)]
    return "".join(piece for piece in pieces if not isinstance(piece, DocumentBegins))


async def test_an_export_is_in_clear_and_an_archive_comes_back_masked(
    core: Core, tmp_path: Path
) -> None:
    await put(core, ACME, MASKED)
    assert NAMES["acme"] in await _exported(core, ACME)
    transfer, path = TenantTransfer(core.ingestor), tmp_path / "archive"
    pieces: list[Any] = [piece async for piece in transfer.exported(core.operator, ACME)]
    path.write_bytes(b"".join(pieces))
    await core.ingestor.of(ACME).delete("complaint")
    await transfer.restore(core.operator, ACME, path, "acme")
    (found,) = await search(core)
    assert found.masked is not None
    assert NAMES["acme"] in found.text
    assert NAMES["acme"] not in found.masked.text
    assert len(rows(core)) == 1


@pytest.mark.parametrize("before", [False, True])
async def test_a_search_gives_what_a_model_gets_to_whoever_asks_for_it(
    core: Core, before: bool
) -> None:
    """before: the document came in before the policy, and is not masked where it lies."""
    await put(core, ACME, MaskingPolicy() if before else MASKED)
    await core.policies.set(core.operator, tenant_id("acme"), MASKED)
    key = await core.registry.issue_key(core.operator, tenant_id("acme"))
    transport = httpx.ASGITransport(create_app(runtime_without_engine(core)))
    headers = {"Authorization": f"Bearer {key.text}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1", headers=headers
    ) as own:
        texts = []
        for masked in (False, True):
            body = {"query": "refund of the tent", "masked": masked}
            (hit,) = (await own.post("/v1/search", json=body)).json()["data"]
            texts.append(hit["text"])
    assert NAMES["acme"] in texts[0]
    assert NAMES["acme"] not in texts[1]
    assert "<PERSON_1>" in texts[1]
