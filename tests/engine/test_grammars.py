"""`bulkhead bench grammars`'s measure, on the engine that runs already: short, and no figure."""

from __future__ import annotations

import pytest

from evals.performance.grammars import Plan, measured
from serving.engine.client import EngineClient


@pytest.mark.engine
@pytest.mark.asyncio(loop_scope="session")
async def test_chats_and_schemas_are_measured(engine: EngineClient) -> None:
    seen = await measured(engine, Plan(chats=2, tokens=2, streams=1, schemas=1))
    for part in ("alone_ms", "beside_schemas_ms"):
        assert 0 < seen[part]["p50"] <= seen[part]["max"]
    assert seen["schemas_meanwhile"] >= 0
    assert set(seen["of_first_compilation"]) == {"own", "another_tenants"}
    # The engine knows its own schema again: the control of what another tenant's tells.
    assert 0 < seen["of_first_compilation"]["own"] < 1
