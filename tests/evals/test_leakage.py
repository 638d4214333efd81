"""`bulkhead eval leakage` on a few hundred attacks: what holds, and that leaks would be seen."""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.cli import eval_leakage
from evals.cli.eval import app
from evals.leakage.attacks.all import ATTACKS
from evals.leakage.run import Plan, Status, measure, status
from evals.leakage.statistics import auc, rate, upper_bound
from evals.leakage.twins import TWINS

_SMALL = Plan(
    attacks=120,
    route_attacks=70,
    crowd_attacks=120,
    crowd_tenants=6,
    crowd_writes=2,
    ungated_attacks=25,
    twin_attacks=8,
    all_classes=False,
    documents=12,
)
_PARTS = ("store", "routes", "concurrent")


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """One small run, for all tests."""
    return asyncio.run(measure(_SMALL))


@pytest.mark.parametrize("part", _PARTS)
def test_nothing_leaks_and_the_judge_sees_what_the_owner_sees(
    result: dict[str, Any], part: str
) -> None:
    for rate_of in ("ctlr", "avr"):
        counted = result[part][rate_of]
        assert counted["events"] == 0
        assert counted["trials"] > 50
        assert 0 < counted["upper_95"] < 0.06
    for name, attacked in result[part]["classes"].items():
        assert attacked["held"], (name, attacked)
        assert attacked["control"]["works"], (name, attacked)
        assert attacked["tags"]


def test_every_class_has_run(result: dict[str, Any]) -> None:
    assert set(result["store"]["classes"]) == set(ATTACKS)
    assert result["store"]["avr_within_a_tenant"]["trials"] > 0
    assert result["concurrent"]["writes"] == 12
    assert result["status"] == "held"


def test_without_the_predicate_nearly_every_query_leaks(result: dict[str, Any]) -> None:
    assert result["ungated"]["ctlr"]["rate"] > 0.8


@pytest.mark.parametrize("twin", [twin.name for twin in TWINS])
def test_a_leaky_twin_is_caught_by_the_attacks_made_for_it(
    result: dict[str, Any], twin: str
) -> None:
    assert result["twins"][twin]["caught"], result["twins"][twin]


def test_a_tenant_kept_beside_the_request_is_seen_by_the_crowd_alone(
    result: dict[str, Any],
) -> None:
    twin = result["twins"]["ambient-tenant"]
    assert twin["held_alone"]
    assert twin["caught"]


def test_the_status_tells_a_leak_from_a_control_that_failed(result: dict[str, Any]) -> None:
    assert status(result) is Status.held
    uncaught, blind, leaking = (deepcopy(result) for _ in range(3))
    uncaught["twins"]["cursor-trusted"]["caught"] = False
    blind["routes"]["controlled"] = False
    leaking["concurrent"]["held"] = False
    leaking["routes"]["controlled"] = False
    assert status(uncaught) is status(blind) is Status.uncontrolled
    assert status(leaking) is Status.leak


@pytest.mark.parametrize("exit_code", [0, 1, 2])
def test_the_command_shows_writes_and_exits_with_the_status(
    result: dict[str, Any], exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measured(*_: Any) -> dict[str, Any]:
        return result

    monkeypatch.setattr(eval_leakage, "measure", measured)
    monkeypatch.setattr(eval_leakage, "status", lambda _: exit_code)
    monkeypatch.setattr(eval_leakage, "log_to", lambda _: None)
    file = tmp_path / "leakage.json"
    ran = CliRunner().invoke(app, ["leakage", "--out", str(file)])
    assert ran.exit_code == exit_code
    assert json.loads(file.read_text())["twins"].keys() == result["twins"].keys()


def test_the_bound_is_clopper_and_pearsons() -> None:
    assert upper_bound(0, 10_000) == pytest.approx(1 - 0.05 ** (1 / 10_000), rel=1e-6)
    # Tables: 1 of 20, 95% one-sided.
    assert upper_bound(1, 20) == pytest.approx(0.2161, abs=1e-4)
    assert upper_bound(5, 5) == 1
    assert rate(0, 0)["upper_95"] is None


def test_the_area_under_the_curve_is_chance_for_what_says_nothing() -> None:
    nothing, told = auc([1.0] * 9, [1.0] * 9, 0.95), auc([3.0, 4.0, 2.5], [1.0, 2.0, 0.0], 0.95)
    assert (nothing.value, nothing.low, nothing.high) == (0.5, 0.5, 0.5)
    assert told.value == told.low == 1
    some = auc([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 3.0, 1.0], 0.95)
    assert some.value == 11.5 / 16
    assert some.low < 0.5 < some.high
