"""Installs packages into an environment: with uv, which takes a third of pip's time, or with pip.

uv reads none of pip's settings: where pip is told of another index, of a proxy or of no index at
all, pip installs. It does so, too, what uv could not.
"""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from serving.engine.steps import StepFailedError, run_step

_UV = "uv==0.13.9"
_LEADS_ELSEWHERE = re.compile(r"\.(index-url|no-index|proxy|trusted-host)=")


def install(title: str, python: Path, arguments: Sequence[str], log: Path) -> None:
    """Install what pip's arguments name into the environment of `python`, and compile none of it.

    Raises:
        StepFailedError: pip failed.
    """
    if not (_has_uv(python, log) and _by_uv(title, python, arguments, log)):
        install_by_pip(title, python, arguments, log)


def install_by_pip(
    title: str, python: Path, arguments: Sequence[str], log: Path, *, compiled: bool = False
) -> None:
    """The same by pip alone: for wheels that lie where only pip looks.

    Raises:
        StepFailedError: it failed.
    """
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    run_step(title, [*pip, "--compile" if compiled else "--no-compile", *arguments], log)


def _by_uv(title: str, python: Path, arguments: Sequence[str], log: Path) -> bool:
    """Whether it could: pip has the last word, and its failure is the one that is told."""
    uv = [str(python.with_name("uv")), "pip", "install", "--link-mode", "copy"]
    try:
        run_step(title, [*uv, "--python", str(python), *arguments], log)
    except StepFailedError:
        return False
    return True


@functools.cache
def _has_uv(python: Path, log: Path) -> bool:
    command = [str(python), "-m", "pip", "config", "list"]
    settings = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    if _LEADS_ELSEWHERE.search(settings):
        return False
    if python.with_name("uv").exists():
        return True
    try:
        install_by_pip("Installing uv", python, [_UV], log)
    except StepFailedError:
        return False
    return True
