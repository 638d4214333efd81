"""How the two legs of a hybrid search become one score. The same in every engine.

score = cosine + LEXICAL * BM25 / (terms of the query): a convex combination up to scale, which
keeps what rank fusion throws away, how much better one hit is than the next (Bruch et al., "An
Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023). The numbers were chosen on the
development half of the questions of `bulkhead bench quality`: the best nDCG@10 among those whose
recall@20 is below the dense leg's in no group of questions. Rank fusion is reported beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul

# How many hits each leg gives at least.
PREFETCH = 30
LEXICAL = 0.05
# The cosine of a hit that only BM25 gave: of about what does not concern the question.
UNSEEN = 0.1


def cosine(query: Sequence[float], dense: Sequence[float] | None) -> float:
    """Of a dense query and a hit, both of unit length; 0 where there is none of either."""
    return sum(map(mul, query, dense)) if query and dense else 0.0
