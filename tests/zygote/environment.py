"""An environment like the engine's whose workers are forks: a start takes a quarter of the time.

Loading SGLang takes 13 seconds of a processor, and dozens of tests start a worker of their own.
Those that many tests share are started for real (`real_engine`; decision 33).
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from serving.engine import install
from serving.engine.install import installed, python, this_device
from serving.settings import Settings

_HERE = Path(__file__).parent
_SETTINGS = Path("bin") / "zygote.json"


def real_engine() -> Path:
    """The engine's environment itself, for a worker whose start is part of the test."""
    folder = Settings().engine_venv
    if not (folder / _SETTINGS).exists():
        return folder
    return Path(json.loads((folder / _SETTINGS).read_text())["python"]).parents[1]


@contextmanager
def zygote(real: Path) -> Generator[Path | None, None, None]:
    """Its folder, while the block runs; None where there is one already, and where the engine is
    not installed, or not on a CPU."""
    if (real / _SETTINGS).exists() or this_device() != "cpu" or not installed(real, "cpu"):
        yield None
        return
    # Short, as a socket's path must be, and where programs may be run: not so `tests.memory`.
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-zygote-", dir="/tmp"))
    try:
        _lay_out(folder, real.absolute())
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / "socket"))
            listening.listen(16)
            command = [str(python(real)), str(_HERE / "server.py"), str(listening.fileno())]
            leash = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[listening.fileno()],
            )
        with leash:
            yield folder
    finally:
        shutil.rmtree(folder)


def _lay_out(folder: Path, real: Path) -> None:
    (folder / "bin").mkdir()
    for program in (real / "bin").iterdir():
        if program.name != "python":
            (folder / "bin" / program.name).symlink_to(program)
    shutil.copy(real / install._STAMP, folder)
    settings = {"python": str(real / "bin" / "python"), "socket": str(folder / "socket")}
    (folder / _SETTINGS).write_text(json.dumps(settings))
    shim = folder / "bin" / "python"
    # A shell would not pass its signals on.
    shim.write_text(f"#!{sys.executable} -IS\n" + (_HERE / "client.py").read_text())
    shim.chmod(0o755)
