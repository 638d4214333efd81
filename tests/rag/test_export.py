"""What comes out is what went in: each tenant's own, by heading, without what passages repeat."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from evals.performance.hashed_embedder import HashedEmbedder
from isolation.access import restricted_to
from isolation.context import TenantContext
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Document
from rag.export import DocumentBegins, Exporter
from rag.ingest import Ingestor
from rag.spool import Spool
from rag.store.edge.store import EdgeVectorStore
from tests.rag.catalog_in_memory import InMemoryCatalog

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


@pytest.fixture
async def ingestor(tmp_path: Path) -> AsyncGenerator[Ingestor, None]:
    store = EdgeVectorStore.open(tmp_path / "edge", 4)
    yield Ingestor(store, InMemoryCatalog(), HashedEmbedder(4))
    await store.close()


async def _exported(ingestor: Ingestor, folder: Path, ctx: TenantContext) -> dict[str, str]:
    texts: dict[str, str] = {}
    spool = Spool(folder / "spool")
    async for piece in Exporter(ingestor, spool).pieces(ctx):
        if isinstance(piece, DocumentBegins):
            document = piece.entry.document_id
            texts[document] = ""
        else:
            texts[document] += piece
    assert list((folder / "spool").iterdir()) == []
    return texts


async def test_headings_and_sentences_come_out_once(ingestor: Ingestor, tmp_path: Path) -> None:
    sentences = [f"Sentence number {n} speaks of parcels and of boots." for n in range(200)]
    text = "# Help\n\n" + " ".join(sentences) + "\n\n## Fees\n\nNone.\n\n### Abroad\n\nFive.\n"
    await ingestor.of(FJELLVIK).ingest(Document("help", "Help", text))
    out = (await _exported(ingestor, tmp_path, FJELLVIK))["help"]
    assert out.split() == text.split()


async def test_each_credential_exports_what_it_may_see(ingestor: Ingestor, tmp_path: Path) -> None:
    for ctx, days in ((FJELLVIK, 30), (VOLTBAY, 14)):
        await ingestor.of(ctx).ingest(Document("returns", "Returns", f"Within {days} days."))
        board = Document("board", "Board", f"Secret {days}.", {}, frozenset({"board"}))
        await ingestor.of(ctx).ingest(board)
    mine = await _exported(ingestor, tmp_path, FJELLVIK)
    assert mine == {
        "board": "# Board\n\nSecret 30.\n",
        "returns": "# Returns\n\nWithin 30 days.\n",
    }
    restricted = tenant_for_tests("voltbay", access=restricted_to({"shop"}))
    assert await _exported(ingestor, tmp_path, restricted) == {
        "returns": "# Returns\n\nWithin 14 days.\n"
    }
