"""Long commands of an installation: their output goes to a log, their failure is one clear line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from serving.errors import StartupError

_CAUSES = (
    (("No space left on device",), "the disk is full: free some space and run it again"),
    (
        ("Temporary failure in name resolution", "Failed to establish a new connection"),
        "the package index cannot be reached: check the network and run it again",
    ),
    (
        ("No matching distribution found", "Could not find a version"),
        "the package index lacks a package: check the network and pip's index settings",
    ),
    (("Permission denied",), "permission denied: check who owns the folder"),
)


class StepFailedError(StartupError):
    """A step of an installation failed; what was done before is used by the next try."""

    code = "installation_failed"


def run_step(title: str, argv: Sequence[str], log: Path, **env: str) -> None:
    """Run one command to its end; its output is appended to `log`.

    Raises:
        StepFailedError: it failed; the message names the likely cause and the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        try:
            status = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | env,
                check=False,
            ).returncode
        except OSError as error:
            raise StepFailedError(f"{title} failed: {error.strerror}.") from None
    if status != 0:
        raise StepFailedError(f"{title} failed: {_cause(log, start)}. Log: {log}")


def _cause(log: Path, start: int) -> str:
    with log.open("rb") as lines:
        lines.seek(start)
        text = lines.read().decode(errors="replace")
    for signs, cause in _CAUSES:
        if any(sign in text for sign in signs):
            return cause
    return "the log says why"
