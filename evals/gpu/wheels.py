"""The wheels that a host without a network needs: collected, and looked at before they are used.

The engine's are asked for with the very arguments that its installer gives to pip, so that neither
can name what the other lacks. Source distributions are built here: a host has nothing to build by.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from pathlib import Path

from serving.engine import pins

_REPOSITORY = Path(__file__).resolve().parents[2]
LOCK = _REPOSITORY / "requirements" / "gateway.lock"
# What building needs, and what an environment without a network cannot ask for.
TOOLS = ("pip", "setuptools", "wheel", "hatchling", "editables")
_MANIFEST = "bulkhead-wheels.json"


class UnfitError(Exception):
    """The folder's wheels are not for this host, or not of this repository; the text says how."""


def collect(folder: Path, device: pins.Device) -> int:
    """Fill `folder` for a host of this platform. Returns pip's status."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MANIFEST).unlink(missing_ok=True)
    for wanted in requests(device):
        command = [sys.executable, "-m", "pip", "wheel", "--wheel-dir", str(folder), *wanted]
        if status := subprocess.call(command):
            return status
    # Written last: a folder that is not complete is not taken for one.
    (folder / _MANIFEST).write_text(json.dumps(_described(device), indent=1))
    return 0


def requests(device: pins.Device) -> list[list[str]]:
    """What `pip wheel` is asked for, call by call."""
    return [
        ["-c", str(LOCK), str(_REPOSITORY)],
        [*TOOLS],
        *(step.arguments for step in pins.steps(device)),
        ["--no-deps", pins.MODEL],
    ]


def check(folder: Path, device: pins.Device) -> None:
    """See that the folder was collected for this host, by this repository.

    Raises:
        UnfitError: it was not, or the collection was cut short.
    """
    path = folder / _MANIFEST
    if not path.exists():
        raise UnfitError(f"{folder} is not complete: fill it with --collect")
    found, wanted = json.loads(path.read_text()), _described(device)
    if found["device"] == "cuda" != device:
        raise UnfitError("the wheels are for NVIDIA's GPUs, and nvidia-smi shows none here")
    different = [name for name in wanted if found.get(name) != wanted[name]]
    if different:
        names = ", ".join(f"{n}: {found.get(n)}, here {wanted[n]}" for n in different)
        raise UnfitError(f"the wheels are for something else ({names}): collect them again")


def _described(device: pins.Device) -> dict[str, str]:
    gateway = _REPOSITORY / "pyproject.toml"
    return {
        "device": device,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "platform": f"{sys.platform} {platform.machine()}",
        "engine": pins.digest(device, pins.MODEL)[:16],
        "gateway": hashlib.sha256(LOCK.read_bytes() + gateway.read_bytes()).hexdigest()[:16],
    }
