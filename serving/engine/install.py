"""The engine's own environment: SGLang 0.5.23 for this machine's CPU, or for its NVIDIA GPU.

Its dependencies fit neither the gateway's nor each other without care: on a CPU, SGLang's own pins
would bring gigabytes of CUDA, so it is installed without them and `recipes/` names what it needs.
What is installed stands in `pins`.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from serving.engine import packages, pins
from serving.engine.pins import Device, Step
from serving.engine.steps import StepFailedError, run_step

Progress = Callable[[str], None]

_DISTRIBUTION = "bulkhead-rag"
_STAMP = "bulkhead-installed.json"
_NEEDED_BYTES: dict[Device, int] = {"cpu": 5_000_000_000, "cuda": 16_000_000_000}


def this_device() -> Device:
    """`cuda` where NVIDIA's driver answers, else `cpu`."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "cpu"
    answered = subprocess.run([tool, "-L"], capture_output=True, check=False)
    return "cuda" if answered.returncode == 0 and b"GPU" in answered.stdout else "cpu"


def installed(folder: Path, device: Device) -> bool:
    """Whether `folder` holds the complete environment of this version."""
    stamp = folder / _STAMP
    return stamp.exists() and stamp.read_text() == _digest(device)


def install(folder: Path, device: Device, log: Path, progress: Progress) -> None:
    """Make the environment, if it is not there. Safe to interrupt, and to call twice at once.

    Raises:
        StepFailedError: no space, no network, or a step failed; one line with the way out.
    """
    with _only_one(folder, progress):
        if installed(folder, device):
            return
        _check_space(folder, _NEEDED_BYTES[device])
        (folder / _STAMP).unlink(missing_ok=True)
        progress("engine: making its environment")
        venv.create(folder, with_pip=True)
        for step in _steps(device):
            progress(f"engine: installing {step.title}")
            what = (f"Installing {step.title}", python(folder), step.arguments, log)
            if step.by_pip:
                packages.install_by_pip(*what, compiled=device == "cuda")
            else:
                packages.install(*what)
        if device == "cpu":
            progress("engine: loading it once")
            load = [str(python(folder)), "-W", "ignore", "-m", "serving.engine_plugin.loading"]
            run_step("Loading SGLang", load, log, PYTHONDONTWRITEBYTECODE="")
        # Written last: an environment cut short is never taken for a whole one.
        (folder / _STAMP).write_text(_digest(device))


def python(folder: Path) -> Path:
    """The environment's interpreter."""
    return folder.absolute() / "bin" / "python"


def _steps(device: Device) -> list[Step]:
    plugin = Step("Bulkhead's plugin", ["--no-deps", *_this_distribution()])
    return [*pins.steps(device), plugin]


def _this_distribution() -> list[str]:
    """pip's arguments for the very code that runs here: the plugin must be of this version."""
    try:
        found = distribution(_DISTRIBUTION)
    except PackageNotFoundError:
        message = "Bulkhead is not installed here: run 'pip install -e .' in the repository first."
        raise StepFailedError(message) from None
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        return ["-e", unquote(urlsplit(origin["url"]).path)]
    return [origin["url"]] if origin else [f"{_DISTRIBUTION}=={found.version}"]


def _digest(device: Device) -> str:
    """Changes when what must be installed changes."""
    return pins.digest(device, *_this_distribution(), sys.version.split()[0])


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(_existing(folder)).free
    if free < needed:
        raise StepFailedError(
            f"The engine needs {needed / 1e9:.0f} GB of disk and {free / 1e9:.1f} GB are free at "
            f"{folder}. Free some space, or set BULKHEAD_ENGINE_VENV to a folder on a larger disk."
        )


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


@contextmanager
def _only_one(folder: Path, progress: Progress) -> Generator[None, None, None]:
    """Holds the installation's lock; another process waits here, and says so."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "bulkhead-install.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("engine: another process installs it; waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
