"""The script for GPU hosts, run on this machine with the tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evals.cli.bench_prefix import table_of
from evals.gpu import measure, run
from evals.gpu.measure import main
from evals.gpu.shapes import Shape, model_of
from serving.errors import StartupError


@pytest.mark.engine
def test_it_measures_hits_slots_and_throughput_side_by_side(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    assert main(["--shape", "tiny", "--rounds", "1", "--tenants", "2", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["environment"]["machine"]["cores"]
    measured = report["backends"]["default"]
    flood = measured["prefix"]["flood"]
    assert flood["stock"]["alone"] > 0.9 > 0.5 > flood["stock"]["after"]
    assert flood["scrub_on"]["after"] > 0.9 < flood["scrub_on"]["during"]
    for side in flood.values():
        for when in ("alone", "during"):
            times = side[f"first_token_{when}"]
            assert times["count"] == 4
            assert 0 < times["p50_ms"] <= times["p99_ms"] <= times["max_ms"]
        assert side["flood_tokens"] > side["flood_tokens_before"] > 8_192
    slots = measured["prefix"]["released_slots"]
    assert slots["scrub_on"]["dirty"] == 0 < slots["scrub_off"]["dirty"]
    assert {
        len(sides["scrub_on"]["rounds"]["cost"]) for sides in measured["prefix"]["speed"].values()
    } == {1}
    assert table_of(measured["prefix"]).row_count == 9
    public = measured["prefix"]["public"]
    assert public["with"]["least_cached_tokens"] == public["public_tokens"] > 400
    assert public["with"]["most_cached_tokens"] == public["public_tokens"]
    assert public["without"]["most_cached_tokens"] < 32
    for phase in measured["tenants"].values():
        assert all(phase[side]["tokens_per_second"] > 0 for side in ("stock", "scrub_on"))


def test_the_large_shape_is_a_model_of_eight_billion(tmp_path: Path) -> None:
    source = tmp_path / "tiny"
    source.mkdir()
    (source / "config.json").write_text(json.dumps({"vocab_size": 49152}))
    (source / "model.safetensors").write_text("weights")
    folder = model_of(Shape.large, source, tmp_path / "large")
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    c = json.loads((folder / "config.json").read_text())
    attention = (
        2 * c["hidden_size"] * c["head_dim"] * (c["num_attention_heads"] + c["num_key_value_heads"])
    )
    layer = attention + 3 * c["hidden_size"] * c["intermediate_size"]
    weights = c["num_hidden_layers"] * layer + 2 * c["vocab_size"] * c["hidden_size"]
    assert 7e9 < weights < 8.5e9


def test_no_pip_of_a_run_asks_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As an image's: it would be obeyed, and names a package index.
    configured = tmp_path / "pip.conf"
    configured.write_text("[global]\nindex-url = https://elsewhere.example/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configured))
    monkeypatch.setenv("PIP_CONSTRAINT", "/etc/pip/constraint.txt")
    environment = run.offline(tmp_path / "wheels", tmp_path)
    command = [sys.executable, "-m", "pip", "config", "list"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "no-index='1'" in shown.stdout
    assert str(tmp_path / "wheels") in shown.stdout
    assert "elsewhere" not in shown.stdout
    assert "constraint" not in shown.stdout


def test_the_script_runs_by_itself() -> None:
    """From anywhere, with a Python that has none of our libraries."""
    script = Path(run.__file__)
    command = [sys.executable, "-I", "-S", str(script), "--help"]
    shown = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    assert "--collect" in shown.stdout


def test_a_card_that_pytorch_cannot_use_is_said_at_once(tmp_path: Path) -> None:
    blind = tmp_path / "bin" / "python"
    blind.parent.mkdir()
    blind.write_text("#!/bin/sh\nexit 1\n")
    blind.chmod(0o755)
    with pytest.raises(StartupError, match="driver"):
        measure._require_card(tmp_path)


def test_a_run_without_wheels_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["--wheels", "nowhere"])
    assert "--collect" in capsys.readouterr().err
