"""Workers that are forks end as real ones do, and what is no worker is the real interpreter's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.cli.engine import worker_of
from serving.engine.install import python
from serving.engine.launch import _environment
from serving.settings import Settings
from tests.zygote.environment import real_engine

pytestmark = pytest.mark.engine

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def shim(tiny_model: Path) -> Path:
    if Settings().engine_venv == real_engine():
        pytest.skip("the engine was not installed when the run began, so there is no zygote")
    return python(Settings().engine_venv)


@pytest.fixture
def started(shim: Path) -> Iterator[Start]:
    """Starts a stock worker, which needs no keys; `log` has what it says. All end with the test."""
    asking: list[subprocess.Popen[bytes]] = []

    def start(model: Path, log: Path, **more: str) -> subprocess.Popen[bytes]:
        config = log.with_suffix(".json")
        arguments = ["--model-path", str(model), "--port", "1", "--device", "cpu"]
        config.write_text(json.dumps({"arguments": arguments}))
        command = [str(shim), "-m", "serving.engine_plugin.stock_worker", str(config)]
        # What the launcher sets, so that one more variable does not make every start a real one.
        environment = _environment(worker_of(Settings(), model)) | more
        with log.open("ab") as output:
            said = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            asking.append(subprocess.Popen(command, env=environment, **said))
        return asking[-1]

    yield start
    for process in asking:
        process.kill()
        process.wait()


def _who_writes(log: Path) -> set[int]:
    """The processes that have `log` as their standard error."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "fd" / "2").readlink() == log:
                found.add(int(process.name))
        except OSError:  # gone meanwhile
            pass
    return found


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_fork_ends_with_who_asked_for_it(
    started: Start, tiny_model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "log"
    asking = started(tiny_model, log)
    _until(lambda: len(_who_writes(log)) > 1)
    (fork, *_) = _who_writes(log) - {asking.pid}
    assert "zygote/server.py" in Path(f"/proc/{fork}/cmdline").read_text()
    asking.send_signal(number)
    asking.wait(60)
    _until(lambda: not _who_writes(log))


def test_a_forks_failure_is_told_as_its_own(started: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert started(tmp_path / "no-model", log).wait(120) not in (0, None)
    assert "no-model" in log.read_text()


def test_one_that_would_load_sglang_otherwise_is_no_fork(
    started: Start, tiny_model: Path, tmp_path: Path
) -> None:
    asking = started(tiny_model, tmp_path / "log", SGLANG_ANYTHING="1")
    real = str(python(real_engine()))
    _until(lambda: Path(f"/proc/{asking.pid}/cmdline").read_text().startswith(real))


def test_what_is_no_worker_is_the_real_interpreters(shim: Path) -> None:
    command = [str(shim), "-c", "import sys; print(sys.prefix)"]
    said = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(real_engine())
