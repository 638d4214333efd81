"""Processes that are forked from one that has the libraries loaded, which takes seconds."""

from __future__ import annotations

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from evals.performance import deployment
from evals.performance.deployment import Deployment
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
    return _completed(main, ["bulkhead", *arguments], environment)


def script(
    path: Path, arguments: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """`python -W error::UserWarning PATH ARGUMENT...`"""
    return _completed(_run_script, [str(path), *arguments], environment)


def _completed(
    run: Callable[[], None], arguments: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    with TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("stdout", "stderr")]
        process = Forked(run, arguments, environment, *said)
        code = process.wait(None)
        return subprocess.CompletedProcess(arguments, code, *(path.read_text() for path in said))


@contextmanager
def deployed_forked(folder: Path, settings: Mapping[str, str]) -> Generator[Deployment, None, None]:
    """As `deployed`, where the gateway's start is not the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployment, "_gateway", _gateway)
        with deployment.deployed(folder, settings) as made:
            yield made


@contextmanager
def _gateway(environment: Mapping[str, str], log: Path) -> Generator[Forked, None, None]:
    process = Forked(main, ["bulkhead", "serve"], os.environ | environment, log, log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


class Forked:
    """A program that runs, with as much of `Popen` as is used here.

    run: at its end, the program has ended; it finds `arguments` in `sys.argv`.
    """

    def __init__(
        self,
        run: Callable[[], None],
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stdout: Path,
        stderr: Path,
    ) -> None:
        said = (run, list(arguments), dict(environment), os.getcwd(), (stdout, stderr))
        self._process = FORKS.Process(target=_run, args=said)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def wait(self, timeout: float | None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("bulkhead", timeout or 0)
        return self._process.exitcode


def _run(
    run: Callable[[], None],
    arguments: list[str],
    environment: dict[str, str],
    folder: str,
    said: Sequence[Path],
) -> None:
    # A search through all that was loaded would copy it, too.
    gc.freeze()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    use_zygotes()
    sys.argv = arguments
    run()


def _run_script() -> None:
    warnings.simplefilter("error", UserWarning)
    runpy.run_path(sys.argv[0], run_name="__main__")
