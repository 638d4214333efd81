"""Pythons whose slow processes are forks: loading SGLang takes 13 seconds of a processor, PEFT and
the masking's model four, LlamaIndex two, and dozens of tests start processes that do.

What many tests share is started for real (`real_engine`; decision 33).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

from isolation.masking import workers
from rag.reading import parsers as rag_parsers
from serving.engine import install
from serving.engine.install import installed, python, this_device
from serving.settings import Settings
from tests.zygote.kinds import engine, masking, parsers, training

_HERE = Path(__file__).parent
_SETTINGS = Path("bin") / "zygote.json"
# Where the tests' own processes find the Python whose parsers are forks.
_PYTHON = "TESTS_PYTHON_WITH_ZYGOTES"


def real_engine() -> Path:
    """The engine's environment itself, for a worker whose start is part of the test."""
    folder = Settings().engine_venv
    if not (folder / _SETTINGS).exists():
        return folder
    return Path(json.loads((folder / _SETTINGS).read_text())["python"]).parents[1]


@contextmanager
def zygotes() -> Generator[None, None, None]:
    """While the block runs, this process and those that it starts use them."""
    if _PYTHON in os.environ:
        yield
        return
    with ExitStack() as stack, _environment_kept():
        own = stack.enter_context(_zygotes(Path(sys.prefix), [parsers, masking]))
        os.environ[_PYTHON] = str(python(own))
        real = Settings().engine_venv.absolute()
        if this_device() == "cpu" and installed(real, "cpu"):
            folder = stack.enter_context(_zygotes(real, [engine, training]))
            shutil.copy(real / install._STAMP, folder)
            os.environ["BULKHEAD_ENGINE_VENV"] = str(folder)
        yield


def use_zygotes() -> None:
    """In this process, if there are any: the engine's are found by its settings."""
    if _PYTHON in os.environ:
        rag_parsers._PYTHON = workers._PYTHON = os.environ[_PYTHON]


@contextmanager
def _environment_kept() -> Generator[None, None, None]:
    kept = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


@contextmanager
def _zygotes(real: Path, kinds: Sequence[ModuleType]) -> Generator[Path, None, None]:
    """A folder that looks like the environment `real`, with a zygote of each kind behind it."""
    # Short, as a socket's path must be, and where programs may be run: not so `tests.memory`.
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-zygote-", dir="/tmp"))
    try:
        with ExitStack() as stack:
            _lay_out(folder, real, kinds)
            for kind in kinds:
                stack.enter_context(_zygote(folder, real, kind))
            yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _zygote(folder: Path, real: Path, kind: ModuleType) -> Generator[None, None, None]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(_socket(folder, kind))
        listening.listen(16)
        number = listening.fileno()
        leash = subprocess.Popen(
            [str(python(real)), str(_HERE / "server.py"), str(number), _name(kind)],
            env=os.environ | kind.BORN_WITH,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[number],
        )
    with leash:
        yield


def _lay_out(folder: Path, real: Path, kinds: Sequence[ModuleType]) -> None:
    (folder / "bin").mkdir()
    for program in (real / "bin").iterdir():
        if program.name != "python":
            (folder / "bin" / program.name).symlink_to(program)
    sockets = {module: _socket(folder, kind) for kind in kinds for module in kind.MODULES}
    settings = {"python": str(python(real)), "sockets": sockets}
    (folder / _SETTINGS).write_text(json.dumps(settings))
    shim = folder / "bin" / "python"
    # A shell would not pass its signals on.
    shim.write_text(f"#!{sys.executable} -IS\n" + (_HERE / "client.py").read_text())
    shim.chmod(0o755)


def _socket(folder: Path, kind: ModuleType) -> str:
    return str(folder / _name(kind))


def _name(kind: ModuleType) -> str:
    return kind.__name__.rpartition(".")[2]
