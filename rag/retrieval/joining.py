"""Chunks of one document that stand next to each other become one passage again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from isolation.context import TenantContext, require_same_tenant
from isolation.masking.masked_text import MaskedText
from rag.documents import Passage, Stretch

# In tokens of the embedding model: a passage stays small enough to stand beside others.
MAX_TOKENS = 300
# A shorter repetition at a seam may be chance.
_MIN_OVERLAP = 12


@dataclass(slots=True)
class Run:
    """Chunks of one version of one document without a gap; `best` is the one that was found."""

    best: Passage
    tokens: int
    chunks: list[Passage] = field(default_factory=list)

    def takes(self, chunk: Passage, tokens: int) -> bool:
        """Add the chunk at the front or the end, if it belongs there and the run has room."""
        first, last = self.chunks[0].ordinal, self.chunks[-1].ordinal
        if (chunk.document_id, chunk.version) != (self.best.document_id, self.best.version):
            return False
        if chunk.ordinal not in (first - 1, last + 1) or self.tokens + tokens > MAX_TOKENS:
            return False
        self.chunks.insert(0 if chunk.ordinal < first else len(self.chunks), chunk)
        self.tokens += tokens
        return True

    def passage(self) -> Passage:
        """The run as one passage, with the scores of the chunk that was found."""
        first, masked = self.chunks[0], [chunk.masked for chunk in self.chunks]
        return self.best._replace(
            ordinal=first.ordinal,
            text=_one([chunk.text for chunk in self.chunks]),
            masked=_one_masked([one for one in masked if one is not None]),
        )


def runs_of(
    ctx: TenantContext, found: Sequence[Passage], limit: int, count_tokens: Callable[[str], int]
) -> list[Run]:
    """At most `limit` runs of what was found, in its order; a hit next to a better one joins it.

    Hits behind the last run join none: what would not have been shown makes no passage longer.

    Raises:
        CrossTenantError: a passage is not this tenant's.
    """
    runs: list[Run] = []
    for passage in found:
        require_same_tenant(ctx, passage.tenant_id, "joined passages")
        tokens = count_tokens(passage.text)
        if not any(run.takes(passage, tokens) for run in runs):
            runs.append(Run(passage, tokens, [passage]))
        if len(runs) == limit:
            break
    return runs


def around(runs: Sequence[Run]) -> list[Stretch]:
    """The chunks before and after each run."""
    return [
        Stretch(run.best.document_id, run.best.version, ordinal, ordinal)
        for run in runs
        for ordinal in (run.chunks[0].ordinal - 1, run.chunks[-1].ordinal + 1)
        if ordinal >= 0
    ]


def extend(
    ctx: TenantContext,
    runs: Sequence[Run],
    neighbours: Sequence[Passage],
    count_tokens: Callable[[str], int],
) -> None:
    """Give each run its neighbours of the same section: a chunk that was cut out is made whole.

    Another section is another topic, and stays out unless it was found itself.

    Raises:
        CrossTenantError: a neighbour is not this tenant's.
    """
    taken = {_place(chunk) for run in runs for chunk in run.chunks}
    for neighbour in neighbours:
        require_same_tenant(ctx, neighbour.tenant_id, "joined passages")
        if _place(neighbour) in taken:
            continue
        tokens = count_tokens(neighbour.text)
        for run in runs:
            if _heading(neighbour) == _heading(run.best) and run.takes(neighbour, tokens):
                taken.add(_place(neighbour))
                break


def _one_masked(chunks: Sequence[MaskedText]) -> MaskedText | None:
    """Of chunks of one version: all of them are masked, or none is."""
    if not chunks:
        return None
    values = {name: value for chunk in chunks for name, value in chunk.values.items()}
    return replace(chunks[0], text=_one([chunk.text for chunk in chunks]), values=values)


def _place(chunk: Passage) -> tuple[str, str, int]:
    return chunk.document_id, chunk.version, chunk.ordinal


def _heading(chunk: Passage) -> str:
    return _head(chunk.text)


def _head(text: str) -> str:
    return text.partition("\n")[0]


def _one(texts: Sequence[str]) -> str:
    """Texts of neighbours as one."""
    whole = texts[0]
    for before, after in pairwise(texts):
        whole = _joined(whole, after, same_section=_head(before) == _head(after))
    return whole


def _joined(whole: str, after: str, *, same_section: bool) -> str:
    if not same_section:
        return f"{whole}\n\n{after}"
    body = after.partition("\n")[2]
    longest = min(len(whole), len(body))
    for size in range(longest, _MIN_OVERLAP - 1, -1):
        if whole.endswith(body[:size]):
            return whole + body[size:]
    return f"{whole} {body}"
