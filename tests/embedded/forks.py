"""Processes that are forked from one that has the libraries loaded, which takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from serving.cli.main import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["serving.cli.in_process", "tests.embedded.killed", __name__])


def bulkhead(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """The `bulkhead` command, as its script runs it."""
    with TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("stdout", "stderr")]
        process = FORKS.Process(target=_run, args=(list(arguments), dict(environment), said))
        process.start()
        process.join()
        code = -1 if process.exitcode is None else process.exitcode
        return subprocess.CompletedProcess(arguments, code, *(path.read_text() for path in said))


def _run(arguments: list[str], environment: dict[str, str], said: list[Path]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["bulkhead", *arguments]
    main()
