"""`bulkhead eval adapters` at a size for tests: three tenants, nine adapters, room for four."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from evals.adapters.run import Plan, Status, measure, status
from evals.adapters.twins import CACHE_TWINS, TWINS

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

_SMALL = Plan(requests=90, questions=2, draws=5, twin_requests=30)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def result(tiny_model: Path) -> dict[str, Any]:
    """One small run, for all tests."""
    return await measure(tiny_model, _SMALL)


async def test_every_request_got_the_right_adapter_through_reloads_and_shifts(
    result: dict[str, Any],
) -> None:
    assert result["answers"]["right"] == result["requests"] == 90
    assert result["answers"]["wrong"]["events"] == 0
    assert result["answers"]["wrong"]["upper_95"] < 0.04
    assert result["answers"]["by_bare_name"] > 12
    assert result["shifts"] == 3 * 5
    assert result["cache"]["reloads"] > 5


async def test_a_conversation_stays_with_its_version_within_a_shift(
    result: dict[str, Any],
) -> None:
    assert result["answers"]["conversations"]["within_one_shift"] > 0
    assert result["answers"]["conversations"]["of_two_versions"] == 0


async def test_no_prefix_is_hit_that_is_not_the_loads_own(result: dict[str, Any]) -> None:
    cache = result["cache"]
    for kind in ("unexplained", "foreign", "after_reload"):
        assert cache[kind]["trials"] > 10
        assert cache[kind]["events"] == 0
    own = cache["own_repeated"]
    assert own["hit"] > 0.5 * own["of"] > 10  # the positive control


@pytest.mark.parametrize("twin", [*TWINS, *CACHE_TWINS])
async def test_a_platform_that_mixes_adapters_or_prefixes_up_is_caught(
    result: dict[str, Any], twin: str
) -> None:
    assert result["twins"][twin]["caught"], result["twins"][twin]


async def test_all_of_it_together_held(result: dict[str, Any]) -> None:
    assert status(result) is Status.held
