"""Runs `tests/engine/inside` in the engine's environment: there are SGLang's classes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from serving.cli.engine import Model, prepared
from serving.engine.install import python
from serving.engine_plugin.cpu import PLATFORM
from serving.settings import Settings

pytestmark = pytest.mark.engine

_HERE = Path(__file__).parent
_AS_THE_LAUNCHER = {"BULKHEAD_ENGINE_DEVICE": "cpu", "SGLANG_PLATFORM": PLATFORM}
# The engine's own packages first; pytest and hypothesis, which it lacks, from ours.
_RUN = "import sys; sys.path.append(sys.argv.pop(1)); import pytest; sys.exit(pytest.main())"


def test_inside_the_engines_environment() -> None:
    """All in one process: SGLang's import takes most of the time."""
    prepared(Settings(), Model.tiny)
    ours = str(Path(pytest.__file__).parent.parent)
    options = ["-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default", "-o", "addopts="]
    files = sorted(str(path) for path in _HERE.glob("inside/inside_*.py"))
    assert files
    arguments = [*options, "--import-mode=importlib", *files]
    result = subprocess.run(
        [str(python(Settings().engine_venv)), "-c", _RUN, ours, *arguments],
        cwd=_HERE.parent.parent,
        env=os.environ | _AS_THE_LAUNCHER | {"OMP_NUM_THREADS": "1", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-6_000:] + result.stderr[-2_000:]
