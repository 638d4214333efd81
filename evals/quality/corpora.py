"""The corpora of `bulkhead bench quality`, all in one shard, ingested as any document is.

Beside the support articles stands a tenant with a copy of them, each with a word more, and the two
demo merchants state contradicting facts about the same topics: a foreign hit would be seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isolation.context import TenantContext
from isolation.errors import BulkheadError
from isolation.tenant_id import tenant_id
from rag.documents import Document, Passage
from rag.reading.kinds import KINDS
from rag.reading.reader import read_bytes
from serving.embedded.core import Core

SUPPORT, TWIN = "support_kb", "support_kb_twin"
_CANARY = "twin-only-canary"

Progress = Callable[[str], object]


class ForeignHitError(BulkheadError):
    """A search returned what is not the tenant's: the run says nothing else any more."""

    code = "foreign_hit"


@dataclass(frozen=True, slots=True)
class Corpus:
    """A tenant with its documents. `foreign`: words that no passage of its may hold."""

    name: str
    ctx: TenantContext
    documents: int
    foreign: Sequence[str]

    def check(self, passages: Sequence[Passage]) -> None:
        """Raises ForeignHitError on a passage that is not this tenant's own."""
        for passage in passages:
            held = any(word in passage.text for word in self.foreign)
            if passage.tenant_id != self.ctx.tenant_id or held:
                raise ForeignHitError(f"a search of {self.name} returned a foreign passage")
            if self.name == TWIN and _CANARY not in passage.text:
                raise ForeignHitError("a search of the twin returned the original")


async def ingest_all(
    core: Core, merchants: Path, data: Path | None, progress: Progress
) -> dict[str, Corpus]:
    """All tenants, by name."""
    corpora = {}
    for name, documents, foreign in _merchants(merchants):
        corpora[name] = await _ingested(core, name, documents, foreign, progress)
    if data is not None:
        articles = list(_articles(data / "documents.jsonl"))
        copies = [_twin(article) for article in articles[::2]]
        corpora[TWIN] = await _ingested(core, TWIN, copies, [], progress)
        corpora[SUPPORT] = await _ingested(core, SUPPORT, articles, [_CANARY], progress)
    return corpora


async def _ingested(
    core: Core, name: str, documents: Sequence[Document], foreign: Sequence[str], progress: Progress
) -> Corpus:
    tenant = tenant_id(name.replace("_", "-"))
    await core.registry.add(core.operator, tenant, "business")
    key = await core.registry.issue_key(core.operator, tenant)
    ctx = await core.tenants_keys.authenticate(key.text)
    for number, document in enumerate(documents):
        if number % 20 == 0:
            progress(f"{name}: {number} of {len(documents)} documents")
        await core.ingestor.of(ctx).ingest(document)
    return Corpus(name, ctx, len(documents), foreign)


def _merchants(folder: Path) -> Iterator[tuple[str, list[Document], list[str]]]:
    """Each merchant's name, documents, and the canaries of the others."""
    own = {path.parent: json.loads(path.read_text()) for path in folder.glob("*/canaries.json")}
    for merchant in sorted(own):
        others = [canaries for other, canaries in own.items() if other != merchant]
        foreign = [word for canaries in others for word in canaries.values()]
        yield merchant.name, list(_merchant(merchant / "documents")), foreign


def _merchant(folder: Path) -> Iterator[Document]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in KINDS:
            yield read_bytes(path.name, path.read_bytes(), path.name)


def _articles(path: Path) -> Iterator[Document]:
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        yield Document(entry["id"], entry["title"], entry["content"])


def _twin(article: Document) -> Document:
    """The title is part of each chunk, so every one of them says whose it is."""
    return Document(article.id, f"{article.title} ({_CANARY})", article.text)
