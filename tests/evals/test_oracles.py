"""How the timing audit and the order of guesses are judged, on samples whose truth is known."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from evals.cli.bench_timing import _status
from evals.performance.guesses import GUESSES, _judged, longest_prefix_first
from evals.performance.oracle import ALPHA, smaller
from evals.performance.recipe import recipe
from serving.cli.engine import worker_of
from serving.engine.launch import launch
from serving.settings import Settings
from serving.supervision.process import Command


def _sample(seed: int, shift: float = 0.0) -> list[float]:
    drawn = random.Random(seed)
    return [drawn.lognormvariate(0, 0.3) - shift for _ in range(250)]


def test_samples_of_one_distribution_are_not_told_apart() -> None:
    assert all(smaller(_sample(n), _sample(1_000 + n)) > ALPHA for n in range(200))


def test_a_hit_that_saves_half_of_the_time_is_told_apart_and_only_in_its_direction() -> None:
    hits, misses = _sample(1, shift=0.5), _sample(2)
    assert smaller(hits, misses) < ALPHA
    assert smaller(misses, hits) > 0.5


def test_the_chance_is_that_of_the_formula_by_hand() -> None:
    # All of one sample below all of the other: D = 1.
    assert smaller([1, 2], [3, 4, 5, 6]) == pytest.approx(2.718281828 ** (-2 * 8 / 6))


def test_guesses_at_chance_are_no_finding_and_the_first_always_is_one() -> None:
    drawn = random.Random(0)
    assert _judged([drawn.randrange(GUESSES) for _ in range(60)])["p"] > 1e-3
    assert _judged([0] * 60)["p"] < ALPHA


@pytest.mark.parametrize(
    ("foreign", "own", "ours", "status"),
    [(False, True, 0.5, 0), (True, True, 0.5, 1), (False, True, 1e-9, 1), (False, False, 0.5, 2)],
)
def test_an_audit_whose_controls_see_nothing_says_nothing(
    foreign: bool, own: bool, ours: float, status: int
) -> None:
    kinds = {"own": own, "foreign": foreign, "shared": True}
    times = {"kinds": {name: {"told_apart": apart} for name, apart in kinds.items()}}
    order = {"sides": {"ours": {"p": ours}, "shared": {"p": 1e-12}}}
    assert _status(times, order) == status


def _arguments(command: Command) -> list[str]:
    assert command.argv[2] == "serving.engine_plugin.stock_worker"
    return list(json.loads(Path(command.argv[-1]).read_text())["arguments"])


def test_the_baselines_have_nothing_of_ours(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    worker = worker_of(Settings(), tmp_path / "model")
    launched = launch(worker, tmp_path / "run", "{}")
    plain = _arguments(recipe(launched.command))
    assert "--radix-cache-backend" not in plain
    assert plain[plain.index("--max-running-requests") + 1] == "32"
    assert str(tmp_path / "model") in plain
    leaky = _arguments(longest_prefix_first(launched.command))
    assert leaky[leaky.index("--schedule-policy") + 1] == "lpm"
    assert "--enable-priority-scheduling" not in leaky
