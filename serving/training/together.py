"""Pairs that the same passages answer become one example: read once, asked several times.

Nothing else tells an adapter to read. When each passage comes with one question, the passage itself
gives the answer away; when five questions ask for five of its sentences, only the question does.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence

from isolation.tenant_id import TenantId
from rag.documents import Passage
from rag.prompt import fitting
from serving.training.examples import SOURCE, Asked, Example, Pair

# Of an answer's words, so many stand in a passage that holds it, and at most so many in others.
_HELD, _NOT_HELD = 0.6, 0.4
_MOST_TOGETHER = 7
_WORD = re.compile(r"\w+")
_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_[0-9]+>")
_NO_CONTENT = re.compile(r"<[A-Z_0-9]+>|\[source\].*$", re.DOTALL)


def searched(pair: Pair) -> str:
    """What to search for: a chat searches by the question as it was before masking."""
    return _PLACEHOLDER.sub("", pair.question).strip()


def together(
    tenant: TenantId,
    found: Sequence[tuple[Pair, Sequence[Passage]]],
    *,
    token_budget: int,
    count_tokens: Callable[[str], int],
    seed: int,
) -> list[Example]:
    """Examples of these pairs, each pair with what a chat finds for it, best first.

    A pair is asked once where its own search holds its answer, beside those of its passages. Each
    example has a question more that its passages do not answer, where some pair says how to
    decline. Half of the examples have their passages in another order: the number of a source is
    to be read, and not learned. A pair that no search finds is left out.
    """
    chance = random.Random(seed)
    pairs = [pair for pair, _ in found]
    declining = [pair.answer for pair in pairs if pair.document is None]
    asked: set[int] = set()
    made = []
    for number in chance.sample(range(len(found)), len(found)):
        pair, passages = found[number]
        sources = fitting(passages, token_budget=token_budget, count_tokens=count_tokens)
        if chance.random() < 0.5:
            chance.shuffle(sources)
        first = answered(pair, sources)
        if number in asked or first is None:
            continue
        asked.add(number)
        others = [n for n in range(len(pairs)) if n not in asked]
        also = list(_answered(pairs, chance.sample(others, len(others)), sources))
        asked.update(n for n, _ in also)
        told = [one for _, one in also]
        if declining and pair.document is not None:
            told += _declined(pairs, sources, chance.choice(declining), chance)
        chance.shuffle(told)
        texts = tuple(source.text for source in sources)
        made.append(
            Example(
                tenant=tenant,
                question=pair.question,
                passages=texts,
                answer=first,
                also=tuple(told),
            )
        )
    return made


def answered(pair: Pair, sources: Sequence[Passage]) -> str | None:
    """The answer with the number of the source that holds it; None: none of them does."""
    if pair.document is None:
        return pair.answer
    own = [n for n, source in enumerate(sources) if source.document_id == pair.document]
    best = max(own, key=lambda n: _share(pair, sources[n]), default=None)
    if best is None or _share(pair, sources[best]) < _HELD:
        return None
    return pair.answer.replace(SOURCE, f"[{best + 1}]")


def _answered(
    pairs: Sequence[Pair], order: Sequence[int], sources: Sequence[Passage]
) -> Iterator[tuple[int, Asked]]:
    taken = 0
    for number in order:
        pair = pairs[number]
        if taken == _MOST_TOGETHER or pair.document is None:
            continue
        if (answer := answered(pair, sources)) is not None:
            taken += 1
            yield number, Asked(question=pair.question, answer=answer)


def _declined(
    pairs: Sequence[Pair], sources: Sequence[Passage], answer: str, chance: random.Random
) -> list[Asked]:
    """A question whose answer stands in none of the sources; rather one about their documents."""
    absent = [
        pair
        for pair in pairs
        if pair.document is not None and all(_share(pair, one) <= _NOT_HELD for one in sources)
    ]
    shown = {source.document_id for source in sources}
    near = [pair for pair in absent if pair.document in shown]
    if not absent:
        return []
    return [Asked(question=chance.choice(near or absent).question, answer=answer)]


def _share(pair: Pair, source: Passage) -> float:
    """Of the answer's words before its mark, those that the source holds."""
    words = _WORD.findall(_NO_CONTENT.sub("", pair.answer).casefold())
    held = set(_WORD.findall(source.text.casefold()))
    return sum(word in held for word in words) / max(1, len(words))
