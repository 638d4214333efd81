"""What installs packages: uv, unless pip is told where to look, and pip where uv fails."""

from __future__ import annotations

import os
import re
import sys
import venv
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from serving.engine import packages
from serving.engine.steps import StepFailedError


@dataclass
class Commands:
    """Runs none of the commands, and says of some that they failed."""

    ran: list[list[str]] = field(default_factory=list)
    failing: tuple[str, ...] = ()

    def run(self, title: str, argv: list[str], log: Path) -> None:
        program = "uv" if argv[0].endswith("uv") else f"pip {argv[-1]}"
        self.ran.append(argv)
        if program in self.failing:
            raise StepFailedError(f"{program} failed")

    @property
    def programs(self) -> list[str]:
        return [Path(argv[0]).name for argv in self.ran]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands = Commands()
    packages._has_uv.cache_clear()
    monkeypatch.setattr(packages, "run_step", commands.run)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_INDEX_URL", "PIP_NO_INDEX", "PIP_PROXY", "PIP_TRUSTED_HOST"):
        monkeypatch.delenv(name, raising=False)
    return commands


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Of an environment that has no uv yet."""
    venv.create(tmp_path / "venv", symlinks=True)
    path = tmp_path / "venv" / "bin" / "python"
    (tmp_path / "venv" / "pyvenv.cfg").write_text(
        f"home = {Path(sys.executable).resolve().parent}\ninclude-system-site-packages = true\n"
    )
    return path


def test_uv_is_installed_first_and_then_does_it(
    commands: Commands, python: Path, tmp_path: Path
) -> None:
    packages.install("x", python, ["a", "-c", "lock"], tmp_path / "log")
    assert commands.programs == ["python", "uv"]
    assert commands.ran[0][-1] == packages._UV
    assert commands.ran[1][-5:] == ["--python", str(python), "a", "-c", "lock"]


@pytest.mark.parametrize(
    "setting", ["PIP_INDEX_URL", "PIP_NO_INDEX", "PIP_PROXY", "PIP_TRUSTED_HOST"]
)
def test_a_pip_that_is_told_where_to_look_installs(
    commands: Commands,
    python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
) -> None:
    monkeypatch.setenv(setting, "1")
    python.with_name("uv").touch()  # of an earlier time
    packages.install("x", python, ["a"], tmp_path / "log")
    assert commands.programs == ["python"]
    assert commands.ran[0][-1] == "a"


@pytest.mark.parametrize("failing", ["uv", f"pip {packages._UV}"])
def test_pip_does_what_uv_could_not(
    commands: Commands, python: Path, tmp_path: Path, failing: str
) -> None:
    """Also where uv cannot even be had."""
    commands.failing = (failing,)
    packages.install("x", python, ["a"], tmp_path / "log")
    assert commands.programs[-1] == "python"
    assert commands.ran[-1][-1] == "a"


def test_where_pip_fails_too_its_failure_is_told(
    commands: Commands, python: Path, tmp_path: Path
) -> None:
    commands.failing = ("uv", "pip a")
    with pytest.raises(StepFailedError, match="pip a failed"):
        packages.install("x", python, ["a"], tmp_path / "log")


# What comes with an environment, what installs, and what only benchmarks need.
_APART = {"bulkhead-rag", "pip", "setuptools", "wheel", "uv", "faker", "presidio-evaluator"}


def test_all_that_is_installed_is_locked_and_takes_the_python_of_debian_12() -> None:
    """3.11.2, and a newcomer has no other. What asks for more fails the installation there, and
    nowhere else; what asks for something only there would come in whatever version there is."""
    lock = (Path(__file__).parents[2] / "requirements" / "gateway.lock").read_text()
    locked = {canonicalize_name(name) for name in re.findall(r"(?m)^([\w.-]+)==", lock)}
    installed = {canonicalize_name(one.metadata["Name"]): one for one in distributions()}
    assert installed.keys() - _APART <= locked
    asked = {name: installed[name].metadata["Requires-Python"] or "" for name in installed}
    assert {name for name in asked if "3.11.2" not in SpecifierSet(asked[name])} == set()
