"""Extractive compression: of the passages, the sentences that are nearest to the question.

RECOMP (Xu et al., ICLR 2024, arXiv 2310.04408) selects sentences by the inner product
of two encodings. Here both are the embedding model's, which is there already. A small model finds
a fact among five sentences better than among sixteen, and reads fewer tokens for it.

Each sentence is weighed with its heading before it, since "It weighs 1.9 kg" does not say what
does. Headings themselves are never chosen: they are near to every question and hold no answer. The
heading of a chosen sentence stays with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import mul

from isolation.context import TenantContext, require_same_tenant, require_tenant
from rag.documents import Passage
from rag.embedding.port import Embedder, for_queries
from rag.embedding.turns import InTurn
from rag.retrieval.follow_up import Question
from rag.sentences import spans

# More are not weighed: on a CPU each takes the embedding model some milliseconds.
_MOST = 128
# For a model as small as one that a CPU serves (docs/decisions/0028).
SMALL_MODEL = 5


class Compressor:
    """Shortens passages for prompts. Bind it first; it keeps nothing between two calls.

    embedder: the embedding model of now. sentences: how many a prompt gets, of all its passages.
    """

    def __init__(self, embedder: Callable[[], Embedder], sentences: int) -> None:
        self._embedder = embedder
        self._sentences = sentences

    def of(self, ctx: TenantContext) -> TenantCompressor:
        """For this tenant's passages."""
        bound = require_tenant(ctx, "the compression")
        return TenantCompressor(bound, InTurn(bound, self._embedder()), self._sentences)


class TenantCompressor:
    """Shortens one tenant's passages."""

    def __init__(self, ctx: TenantContext, embedder: Embedder, sentences: int) -> None:
        self._ctx = ctx
        self._embedder = embedder
        self._sentences = sentences

    async def compress(self, question: Question, passages: Sequence[Passage]) -> list[Passage]:
        """As `compressed`.

        Raises:
            CrossTenantError: a passage is not this tenant's.
        """
        for passage in passages:
            require_same_tenant(self._ctx, passage.tenant_id, "the compression")
        return await compressed(self._embedder, question.whole, passages, self._sentences)


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence of passage number `passage`, at these characters; `heading` at those."""

    passage: int
    place: tuple[int, int]
    heading: tuple[int, int] | None
    text: str


async def compressed(
    embedder: Embedder, question: str, passages: Sequence[Passage], sentences: int
) -> list[Passage]:
    """The passages, in their order, with the `sentences` nearest sentences of them all.

    A passage that holds none of these is left out. With no more sentences than are wanted, all of
    it stays as it is. What was masked in a document stays masked: its masked form is what is cut.
    """
    known = [one for number, passage in enumerate(passages) for one in _sentences(number, passage)]
    if len(known) <= sentences:
        return list(passages)
    known = known[:_MOST]
    (asked,) = await for_queries(embedder).embed([question])
    vectors = await embedder.embed([one.text for one in known])
    nearness = [sum(map(mul, asked, vector)) for vector in vectors]
    order = sorted(range(len(known)), key=lambda n: -nearness[n])
    chosen = [known[n] for n in sorted(order[:sentences])]
    return [
        _cut(passage, own)
        for number, passage in enumerate(passages)
        if (own := [one for one in chosen if one.passage == number])
    ]


def _sentences(number: int, passage: Passage) -> list[_Sentence]:
    text, heading, found = _seen(passage), None, []
    for begin, end in spans(text):
        said = text[begin:end]
        # The first line is the chunk's heading path; neighbours that joined brought theirs.
        path = begin == 0 and text[end : end + 1] == "\n"
        if path or _is_heading(said, passage.title):
            heading = begin, end
            continue
        above = text[slice(*heading)] if heading else ""
        found.append(_Sentence(number, (begin, end), heading, f"{above}: {said}"))
    if not found and heading:
        # Who writes nothing but a title means it.
        return [_Sentence(number, heading, None, text[slice(*heading)])]
    return found


def _is_heading(line: str, title: str) -> bool:
    return line.strip() == title or line.startswith(f"{title} > ")


def _seen(passage: Passage) -> str:
    """What a model may see of it."""
    return passage.text if passage.masked is None else passage.masked.text


def _cut(passage: Passage, chosen: Sequence[_Sentence]) -> Passage:
    places = sorted({place for one in chosen for place in (one.heading, one.place) if place})
    text = "\n".join(_seen(passage)[begin:end].strip() for begin, end in places)
    if passage.masked is None:
        return passage._replace(text=text)
    masked = replace(passage.masked, text=text)
    return passage._replace(text=masked.restored, masked=masked)
