"""`bulkhead bench long-prefill`'s measure, on the engine that runs already."""

from __future__ import annotations

import pytest

from evals.performance.long_prefill import measured
from serving.engine.client import EngineClient


@pytest.mark.engine
@pytest.mark.asyncio(loop_scope="session")
async def test_a_long_prompt_is_a_longer_wait_for_a_running_answer(engine: EngineClient) -> None:
    seen = await measured(engine, rounds=3, words=700)
    # Several chunks of 704.
    assert seen["prompt_tokens"] > 3 * 704
    assert 0 < 2 * seen["gap_alone_ms"] < seen["longest_gap_ms"]
    # The answer goes on after each: SGLang left to itself makes it wait for all of them.
    assert seen["longest_gap_ms"] < 800 * seen["prompt_seconds"]
