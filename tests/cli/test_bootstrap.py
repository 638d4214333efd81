"""A fresh machine on which something is in the way: one line that says what, and the way out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from serving.cli import bootstrap
from serving.engine import install
from serving.engine.steps import StepFailedError, run_step

ROOT = Path(__file__).parents[2]
# pip as configured for nobody, and an index where nothing listens.
NO_NETWORK = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "1",
    "PIP_NO_CACHE_DIR": "1",
}


def test_without_a_network_the_first_start_says_so_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "serving.cli.bootstrap", str(tmp_path / "venv")]
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | NO_NETWORK, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.count("\n") == 1
    assert "the package index cannot be reached: check the network" in ran.stderr


def test_another_python_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "_PYTHON", (3, 99))
    assert bootstrap.main([str(tmp_path / "venv")]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "make PYTHON=" in told
    assert not (tmp_path / "venv").exists()


def test_make_names_the_python_that_is_missing() -> None:
    command = ["make", "install", "PYTHON=no-such-python", "VENV=no-such-folder"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "Bulkhead needs Python 3.11" in ran.stdout
    assert not (ROOT / "no-such-folder").exists()


def test_a_full_disk_is_told_from_other_causes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(StepFailedError, match="the disk is full: free some space"):
        run_step("Writing", ["sh", "-c", "cat /dev/zero > /dev/full"], log)
    # The log holds the earlier failure too; each step is judged by its own lines.
    with pytest.raises(StepFailedError, match="the log says why"):
        run_step("Failing", ["sh", "-c", "exit 3"], log)


def test_a_disk_too_small_for_the_engine_is_told_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(install.shutil, "disk_usage", lambda path: usage(10, 9, 1_000_000_000))
    with pytest.raises(StepFailedError, match=r"needs 5 GB of disk and 1\.0 GB are free"):
        install.install(tmp_path / "engine", "cpu", tmp_path / "log", lambda text: None)
    assert not (tmp_path / "log").exists()


def test_a_program_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StepFailedError, match="No such file"):
        run_step("Running", [str(tmp_path / "nothing")], tmp_path / "log")
