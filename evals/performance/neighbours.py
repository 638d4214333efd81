"""`bulkhead bench neighbours`: how long one tenant's short request waits for what all share, while
another tenant's long ones fill it.

Three ways, one after the other: with no neighbour; with one, in turns as the gateway gives them
(docs/decisions/0035); and first come, first served, as it would be without.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from evals.performance.retrieval import Progress
from isolation.context import TenantContext
from isolation.masking.masker import Masker
from isolation.masking.policy import StandardPolicies
from isolation.masking.workers import DetectorWorkers
from isolation.testing.contexts import tenant_for_tests
from rag.embedding.minilm import MiniLmEmbedder
from rag.embedding.turns import InTurn
from rag.pipeline import BATCH
from serving.engine.tokens import ByteCounter
from serving.errors import ContextLimitError
from serving.gateway.counting import Counting

_QUIET, _LOUD = tenant_for_tests("quiet"), tenant_for_tests("loud")
_SEED = 7
_WORDS = (
    *("carrier", "parcel", "return", "window", "weeks", "order"),
    *("lamp", "tent", "warranty", "stove", "cable", "refund"),
)
# Characters: of a chunk that fills the model; of a message as long as a tier takes, 8,000 tokens.
_CHUNK, _LONG = 1_000, 32_000
# Of a chat's prompt, and of a body as large as the gateway takes.
_PROMPT, _BODY = 2_500, 1_900_000

Ask = Callable[[TenantContext, Sequence[str]], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Plan:
    """asked: short requests a way. documents, messages: what the loud tenant has in flight."""

    asked: int = 12
    documents: int = 1
    messages: int = 4
    prompts: int = 4


async def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """Milliseconds of the quiet tenant's requests, each way, at each shared part."""
    return {
        "measure": "a tenant's short requests beside another tenant's long ones",
        "embedding": await _embedding(plan, progress),
        "masking": await _masking(plan, progress),
        "prompts": await _prompts(plan, progress),
    }


async def _embedding(plan: Plan, progress: Progress) -> dict[str, Any]:
    """A question, beside documents that are embedded a batch at a time."""
    model, texts = MiniLmEmbedder(), _Texts()

    async def in_turn(ctx: TenantContext, asked: Sequence[str]) -> None:
        await InTurn(ctx, model).embed(asked)

    async def at_once(ctx: TenantContext, asked: Sequence[str]) -> None:
        await model.embed(asked)

    await at_once(_QUIET, [texts.of(60)])
    ways = await _ways(
        *(in_turn, at_once),
        quiet=lambda: [texts.of(60)],
        loud=lambda: [texts.of(_CHUNK) for _ in range(BATCH)],
        in_flight=plan.documents,
        asked=plan.asked,
        progress=lambda way: progress(f"a question beside documents: {way}"),
    )
    model.close()
    return {"documents_in_flight": plan.documents, "chunks_of_a_batch": BATCH, "ms": ways}


async def _masking(plan: Plan, progress: Progress) -> dict[str, Any]:
    """A message, beside long ones."""
    workers, texts = await DetectorWorkers.start(1), _Texts()
    masker = Masker(workers, StandardPolicies())

    async def in_turn(ctx: TenantContext, asked: Sequence[str]) -> None:
        await masker.mask(ctx, asked)

    async def at_once(ctx: TenantContext, asked: Sequence[str]) -> None:
        await workers.find(asked[0], None)

    await at_once(_QUIET, [texts.of(60)])
    ways = await _ways(
        *(in_turn, at_once),
        quiet=lambda: [texts.of(60)],
        loud=lambda: [texts.of(_LONG)],
        in_flight=plan.messages,
        asked=plan.asked,
        progress=lambda way: progress(f"a message beside long ones: {way}"),
    )
    await workers.close()
    return {"messages_in_flight": plan.messages, "characters_of_each": _LONG, "ms": ways}


async def _prompts(plan: Plan, progress: Progress) -> dict[str, Any]:
    """A prompt that is counted, beside as long ones as a body may be; those are refused."""
    tokens, texts, counting = _Wordpieces(), _Texts(), Counting()
    short, long = texts.of(_PROMPT), texts.of(_BODY)

    async def in_turn(ctx: TenantContext, asked: Sequence[str]) -> None:
        with suppress(ContextLimitError):
            await counting.of(ctx).checked(asked[0], tokens, 0)

    async def at_once(ctx: TenantContext, asked: Sequence[str]) -> None:
        tokens.count(asked[0])
        await asyncio.sleep(0)

    ways = await _ways(
        *(in_turn, at_once),
        quiet=lambda: [short],
        loud=lambda: [long],
        in_flight=plan.prompts,
        asked=plan.asked,
        progress=lambda way: progress(f"a prompt beside long ones: {way}"),
    )
    counting.close()
    return {"prompts_in_flight": plan.prompts, "characters_of_each": _BODY, "ms": ways}


class _Wordpieces(ByteCounter):
    """The embedding model's tokens: its tokenizer is at hand without an engine."""

    def __init__(self) -> None:
        self._model = MiniLmEmbedder()
        self._model.count_tokens("")

    def count(self, text: str) -> int:
        return self._model.count_tokens(text)


async def _ways(
    in_turn: Ask,
    at_once: Ask,
    *,
    quiet: Callable[[], Sequence[str]],
    loud: Callable[[], Sequence[str]],
    in_flight: int,
    asked: int,
    progress: Callable[[str], object],
) -> dict[str, Any]:
    found = {}
    for way, ask, flood in (
        ("alone", in_turn, 0),
        ("in_turns", in_turn, in_flight),
        ("first_come", at_once, in_flight),
    ):
        progress(way)
        async with _flooded(ask, loud, flood):
            times = [await _timed(ask, quiet()) for _ in range(asked)]
        found[way] = {
            "asked": asked,
            "p50": round(statistics.median(times), 1),
            "max": round(max(times), 1),
        }
    return found


@asynccontextmanager
async def _flooded(
    ask: Ask, loud: Callable[[], Sequence[str]], in_flight: int
) -> AsyncGenerator[None, None]:
    """The loud tenant asks again as soon as it is answered."""
    ending = False

    async def again() -> None:
        while not ending:
            await ask(_LOUD, loud())

    tasks = [asyncio.create_task(again()) for _ in range(in_flight)]
    await asyncio.sleep(0.2 if tasks else 0)
    yield
    ending = True
    await asyncio.gather(*tasks)


async def _timed(ask: Ask, texts: Sequence[str]) -> float:
    begun = time.perf_counter()
    await ask(_QUIET, texts)
    return (time.perf_counter() - begun) * 1_000


class _Texts:
    """Texts of so many characters, none of them twice."""

    def __init__(self) -> None:
        self._draw = Random(_SEED)

    def of(self, characters: int) -> str:
        words: list[str] = []
        length = 0
        while length < characters:
            words.append(self._draw.choice(_WORDS) + str(self._draw.randrange(10)))
            length += len(words[-1]) + 1
        return " ".join(words)[:characters]
