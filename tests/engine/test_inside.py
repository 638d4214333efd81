"""Runs `tests/engine/inside` in the engine's environment: there are SGLang's classes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from serving.cli.engine import Model, prepared, worker_of
from serving.engine.install import python
from serving.engine.launch import _environment
from serving.settings import Settings

pytestmark = pytest.mark.engine

_HERE = Path(__file__).parent
# Parts of SGLang by themselves; and a worker's whole scheduler, with all hooks in force.
_GROUPS = ("inside_*.py", "scheduler_*.py")


def test_inside_the_engines_environment() -> None:
    """All from one process: SGLang's import takes most of the time."""
    settings = Settings()
    model = prepared(settings, Model.tiny)
    # pytest and hypothesis, which the engine's environment lacks.
    ours = str(Path(pytest.__file__).parent.parent)
    result = subprocess.run(
        [str(python(settings.engine_venv)), "-m", "tests.engine.inside.run", ours, *_GROUPS],
        cwd=_HERE.parent.parent,
        env=_environment(worker_of(settings, model)),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert result.returncode == 0, result.stdout[-6_000:] + result.stderr[-2_000:]
