"""A supervised command with all its descendants ends with whoever started it, however that ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.supervision.process import Command, GuardedProcess

# A child, and a grandchild that tries to escape by a session of its own and ignores SIGTERM.
_FAMILY = """
import os, signal, subprocess, sys, time
escaped = subprocess.Popen(
    [sys.executable, "-c",
     "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"],
    start_new_session=True)
open(sys.argv[1], "w").write(f"{os.getpid()} {escaped.pid}\\n")
time.sleep(600)
"""
_PARENT = """
import asyncio, os, sys
from pathlib import Path
from serving.supervision.process import Command, GuardedProcess
async def main():
    argv = [sys.executable, "-c", sys.argv[1], sys.argv[2]]
    await GuardedProcess.start(Command(argv, os.environ), log=Path(sys.argv[3]), grace=0.2)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def _family(path: Path) -> list[int]:
    while not (path.exists() and path.read_text().endswith("\n")):
        await asyncio.sleep(0.02)
    return [int(pid) for pid in path.read_text().split()]


async def _gone(pids: list[int]) -> None:
    while any(_alive(pid) for pid in pids):
        await asyncio.sleep(0.02)


def _command(tmp_path: Path) -> Command:
    return Command([sys.executable, "-c", _FAMILY, str(tmp_path / "pids")], dict(os.environ))


async def test_stopping_takes_down_all_descendants_the_escaped_ones_too(tmp_path: Path) -> None:
    process = await GuardedProcess.start(_command(tmp_path), log=tmp_path / "log", grace=0.2)
    family = await _family(tmp_path / "pids")
    assert all(_alive(pid) for pid in family)
    await process.stop()
    assert not any(_alive(pid) for pid in family)


async def test_killing_the_parent_with_sigkill_takes_down_all_descendants(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", _PARENT, _FAMILY, str(tmp_path / "pids"), str(tmp_path / "log")]
    parent = subprocess.Popen(argv)
    family = await _family(tmp_path / "pids")
    assert all(_alive(pid) for pid in family)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    async with asyncio.timeout(30):
        await _gone(family)


async def test_without_the_guard_the_escaped_one_would_stay(tmp_path: Path) -> None:
    """The leaky twin: what the guard is for happens without it."""
    plain = subprocess.Popen([sys.executable, "-c", _FAMILY, str(tmp_path / "pids")])
    (child, escaped) = await _family(tmp_path / "pids")
    plain.kill()
    plain.wait()
    try:
        assert not _alive(child)
        assert _alive(escaped)
    finally:
        os.kill(escaped, signal.SIGKILL)


@pytest.mark.parametrize(
    ("code", "status"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)]
)
async def test_the_exit_status_is_the_commands(tmp_path: Path, code: str, status: int) -> None:
    command = Command([sys.executable, "-c", code], dict(os.environ))
    process = await GuardedProcess.start(command, log=tmp_path / "log")
    assert await process.wait() == status


async def test_a_command_that_cannot_be_run_says_so_in_the_log(tmp_path: Path) -> None:
    process = await GuardedProcess.start(Command(["/no/such"], {}), log=tmp_path / "log")
    assert await process.wait() == 127
    assert "cannot run /no/such" in (tmp_path / "log").read_text()


async def test_the_log_is_the_owners_alone_and_the_environment_is_not_printed(
    tmp_path: Path,
) -> None:
    (tmp_path / "log").touch(mode=0o644)
    command = Command([sys.executable, "-c", "print('hello')"], {"SECRET": "canary"})
    process = await GuardedProcess.start(command, log=tmp_path / "log")
    await process.wait()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    assert "canary" not in repr(command)
