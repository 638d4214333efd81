"""Each pair becomes an example, with what a chat shows for its question: read once, asked again.

Other pairs that the same sentences answer are asked beside it. With one question to a passage, the
passage itself gives the answer away; with two, only the question does.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from isolation.tenant_id import TenantId
from rag.documents import Passage
from rag.prompt import fitting
from serving.training.examples import SOURCE, Asked, Example, Pair

# Of an answer's words, so many stand in a passage that holds it, and at most so many in others.
_HELD, _NOT_HELD = 0.6, 0.4
_MOST_BESIDE = 2
# Of the examples, so many have a question more that their passages do not answer, and so many have
# the passages in another order: the number of a source is to be read, and the best one is first.
_DECLINED, _SHUFFLED = 0.12, 0.25
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

    Some have a question more that their passages do not answer, where some pair says how to
    decline. A pair whose answer its own search does not hold is left out.
    """
    chance = random.Random(seed)
    pairs = [pair for pair, _ in found]
    declining = [pair.answer for pair in pairs if pair.document is None]
    made = []
    for number in chance.sample(range(len(found)), len(found)):
        pair, passages = found[number]
        sources = fitting(passages, token_budget=token_budget, count_tokens=count_tokens)
        if chance.random() < _SHUFFLED:
            chance.shuffle(sources)
        first = answered(pair, sources)
        if first is None:
            continue
        others = [other for other in pairs if other != pair]
        told = list(_answered(chance.sample(others, len(others)), sources))
        if declining and pair.document is not None and chance.random() < _DECLINED:
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


def _answered(pairs: Sequence[Pair], sources: Sequence[Passage]) -> Iterator[Asked]:
    held = (
        Asked(question=pair.question, answer=answer)
        for pair in pairs
        if pair.document is not None and (answer := answered(pair, sources)) is not None
    )
    return islice(held, _MOST_BESIDE)


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
