"""`bulkhead bench adapters` before a stub engine: what is counted, on a real registry."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.cli import bench_adapters
from evals.cli.bench import app
from evals.performance import adapters
from evals.performance.adapter_pressure import Pressure
from evals.performance.adapters import Plan, guessed_seconds
from serving.engine.client import EngineClient
from serving.engine.launch import Lora, Worker
from tests.adapters.files import BASE
from tests.signing import signer_for_tests
from tests.stub_engine import StubEngine

_SMALL = Plan(
    first_tokens=10,
    rounds=1,
    streams=2,
    tokens=2,
    batch=2,
    places=4,
    pressure=Pressure(
        seconds=0.6,
        pause=0.01,
        places=2,
        pushing=3,
        minimum_seconds=0.2,
        registered=(4, 30),
        clients=2,
    ),
)


@asynccontextmanager
async def _stub(worker: Worker, lora: Lora | None) -> AsyncGenerator[EngineClient, None]:
    async with StubEngine().serving() as url:
        client = EngineClient(url, model="m", api_key="k", signer=signer_for_tests())
        await client.identify()
        yield client
        await client.close()


def _model(folder: Path) -> Path:
    """As much of the base model's folder as is read of it."""
    model = folder / BASE.folder
    model.mkdir()
    shape = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_hidden_layers": 2,
    }
    (model / "config.json").write_text(json.dumps(shape))
    (model / "tokenizer.json").write_text("{}")
    return model


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command writes of one small run, for all tests."""
    folder = tmp_path_factory.mktemp("bench")
    worker = Worker(folder, _model(folder), "cpu", 0, 8, 60)

    async def small(worker: Worker, plan: Plan, progress: Any) -> dict[str, Any]:
        assert plan.pressure.registered == (5, 9)
        return await adapters.measure(worker, _SMALL, progress)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(adapters, "engine", _stub)
        patched.setattr(bench_adapters, "prepared", lambda *_: worker.model)
        patched.setattr(bench_adapters, "worker_of", lambda *_: worker)
        patched.setattr(bench_adapters, "measure", small)
        file = folder / "adapters.json"
        sizes = ["--registered", "5", "--registered", "9"]
        ran = CliRunner().invoke(app, ["adapters", *sizes, "--out", str(file)])
    assert ran.exit_code == 0, ran.output
    assert "minutes on two quiet cores" in ran.output
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def test_all_parts_are_measured_and_loads_are_counted(result: dict[str, Any]) -> None:
    assert result["environment"]["machine"]["cores"]
    for times in result["first_token"].values():
        assert times["count"] >= 5
        assert 0 < times["p50_ms"] <= times["max_ms"]
    rates = result["throughput"]
    assert rates["base only, adapters off"]["of_base_only_off"] == 1
    assert len(rates) == 5
    assert all(rate["tokens_per_second"] > 0 for rate in rates.values())
    assert [row["registered"] for row in result["sweep"]] == [4, 30]
    for row in result["sweep"]:
        assert 0 < row["loads_of_answers"] <= 1
        assert 0 < row["first_token_p50_ms"] <= row["first_token_p95_ms"]


def test_protection_makes_loads_rarer(result: dict[str, Any]) -> None:
    thrash = result["thrash"]
    assert thrash["adapters"] == 4
    assert thrash["all_fit"]["answers_per_second"] > 0
    without = thrash["without_protection"]["loads_of_answers"]
    assert 0 < thrash["with_protection"]["loads_of_answers"] < without
    for name in ("all_fit", "without_protection", "with_protection"):
        for who in ("steady_tenant", "tenant_without_adapter", "pushing_tenants"):
            assert thrash[name][who]["answers"] > 0


def test_the_whole_run_is_guessed_to_end_in_a_quarter_of_an_hour() -> None:
    assert guessed_seconds(Plan()) < 15 * 60
