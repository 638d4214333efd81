"""`bulkhead bench limits`: what is reserved is never above the limit, what is counted after is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evals.cli import bench_limits
from evals.cli.bench import app
from evals.performance.limits import Plan, measure

_SMALL = Plan(limit=10_000, clients=48, refusals=3, rounds=2, pairs=20)


async def test_a_rush_gets_the_limit_and_with_counting_after_more() -> None:
    result = await measure(_SMALL, lambda text: None)
    ours, twin = result["sides"]["reserved"], result["sides"]["counted_after"]
    assert 0.8 < ours["least"] <= ours["most"] <= 1
    assert twin["least"] > 1
    assert all(one["refused"] for one in ours["rounds"])
    assert result["reserve_and_settle_ms"]["p50"] > 0


def test_the_command_writes_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_limits, "Plan", lambda rounds: _SMALL)
    saved = tmp_path / "limits.json"
    ran = CliRunner().invoke(app, ["limits", "--out", str(saved)])
    assert ran.exit_code == 0, ran.output
    report = json.loads(saved.read_text())
    assert report["environment"]["versions"]
    assert f"{report['sides']['counted_after']['most']:.1%}" in ran.output
