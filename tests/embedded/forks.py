"""Processes that are forked from one that has the libraries loaded, which takes seconds."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from serving.cli.main import main
from tests.zygote.environment import use_zygotes

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["serving.cli.in_process", "serving.cli.serve", "tests.embedded.killed", __name__]
)


def bulkhead(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """The `bulkhead` command, as its script runs it."""
    with TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("stdout", "stderr")]
        process = Forked(arguments, environment, *said)
        code = process.wait(None)
        return subprocess.CompletedProcess(arguments, code, *(path.read_text() for path in said))


class Forked:
    """A command that runs, with as much of `Popen` as the tests use."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], stdout: Path, stderr: Path
    ) -> None:
        said = (list(arguments), dict(environment), (stdout, stderr))
        self._process = FORKS.Process(target=_run, args=said)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float | None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("bulkhead", timeout or 0)
        return self._process.exitcode


def _run(arguments: list[str], environment: dict[str, str], said: Sequence[Path]) -> None:
    # A search through all that was loaded would copy it, too.
    gc.freeze()
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    use_zygotes()
    sys.argv = ["bulkhead", *arguments]
    main()
