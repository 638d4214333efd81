"""Bulkhead on a GPU host without a network: `python3.11 evals/gpu/run.py --wheels DIR --out FILE`.

With a network, on a machine of the same Python and platform: `... run.py --collect DIR` fills the
folder. Carry it and the repository over. Runs without any library; all else is installed into
`--work`, from the folder alone. What follows `--` goes to `evals.gpu.measure`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]
# A script's own folder is where Python looks first, and not the repository.
sys.path.insert(0, str(_REPOSITORY))

from evals.gpu.wheels import LOCK, TOOLS, UnfitError, check, collect  # noqa: E402
from serving.engine.install import this_device  # noqa: E402

_PYTHON = (3, 11)
# Of the host's own, which would lead an environment or its pip elsewhere; images for GPUs have
# them, a PIP_CONSTRAINT among them.
_DROPPED = ("PIP_", "PYTHON")


def main(arguments: list[str]) -> int:
    """Collect wheels, or install from them and measure. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="evals/gpu/run.py", description=__doc__)
    parser.add_argument("--collect", type=Path, help="Fill this folder, and do nothing else.")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="Of the host to collect for."
    )
    parser.add_argument("--wheels", type=Path, help="A folder that --collect filled.")
    parser.add_argument("--work", type=Path, default=Path(".bulkhead-gpu"))
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("measure", nargs="*", help="After --: options of evals.gpu.measure.")
    options = parser.parse_args(arguments)
    if sys.version_info[:2] != _PYTHON:
        parser.error(f"run it with Python 3.11, of which the wheels are: {sys.executable} is not")
    if options.collect is not None:
        return collect(options.collect, options.device)
    if options.wheels is None or not options.wheels.is_dir():
        parser.error("name the folder of wheels with --wheels, or fill one with --collect")
    try:
        check(options.wheels, this_device())
    except UnfitError as error:
        parser.error(str(error))
    environment = offline(options.wheels, options.work)
    python = _environment(options.work, environment)
    command = [str(python), "-m", "evals.gpu.measure", "--out", str(options.out.absolute())]
    return subprocess.call([*command, *options.measure], cwd=_REPOSITORY, env=environment)


def offline(wheels: Path, work: Path) -> dict[str, str]:
    """This process's environment, in which every pip knows the folder and nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
    return kept | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels.absolute()),
        "HF_HUB_OFFLINE": "1",
        "XDG_CACHE_HOME": str(work.absolute() / "cache"),
        "BULKHEAD_DATA_DIR": str(work.absolute() / "data"),
        "BULKHEAD_ENGINE_VENV": str(work.absolute() / "engine"),
    }


def _environment(work: Path, environment: dict[str, str]) -> Path:
    """The gateway's environment; the engine's is made by `evals.gpu.measure`, as everywhere."""
    folder = work.absolute() / "gateway"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *TOOLS], check=True, env=environment)
    install = [*pip, "--no-build-isolation", "-c", str(LOCK), "-e", str(_REPOSITORY)]
    subprocess.run(install, check=True, env=environment)
    return python


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
