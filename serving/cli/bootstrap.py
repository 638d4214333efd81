"""`python3.11 -m serving.cli.bootstrap FOLDER`: the repository's environment, before there is one.

Runs without any library. What may go wrong on a fresh machine ends in one line with the way out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from serving.engine.packages import install
from serving.engine.steps import StepFailedError, run_step

_PYTHON = (3, 11)
_LOCK = "requirements/gateway.lock"
_BENCH = "requirements/bench.lock"


def main(arguments: list[str]) -> int:
    """Make the environment in the folder named. Returns the exit status."""
    (folder,) = (Path(argument) for argument in arguments)
    try:
        _make(folder)
    except StepFailedError as error:
        print(f"bulkhead: {error.message}", file=sys.stderr)
        return 1
    return 0


def _make(folder: Path) -> None:
    if sys.version_info[:2] != _PYTHON:
        raise StepFailedError(
            f"Bulkhead needs Python 3.11, and {sys.executable} is {sys.version.split()[0]}. "
            "Name the right one with 'make PYTHON=/path/to/python3.11'."
        )
    log = folder.with_name(f"{folder.name}-install.log")
    python = folder / "bin" / "python"
    if not _works(python):
        run_step(
            "Making the environment (on Debian it needs the package python3-venv)",
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            log,
        )
    install("Installing the libraries", python, ["-c", _LOCK, "-e", ".[dev]"], log)
    install("Installing what benchmarks need", python, ["--no-deps", "-r", _BENCH], log)
    log.unlink()


def _works(python: Path) -> bool:
    """An environment that was cut short has no pip."""
    if not os.access(python, os.X_OK):
        return False
    command = [str(python), "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
