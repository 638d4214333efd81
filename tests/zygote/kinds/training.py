"""Trainings, from a process that has torch and PEFT loaded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

MODULES = ("serving.engine_plugin.training",)
# As it is asked for, and read when Python begins.
BORN_WITH = {"PYTHONHASHSEED": "0"}
_READ = {"HF_HUB_OFFLINE", "OMP_WAIT_POLICY", "PYTHONHASHSEED", "OMP_NUM_THREADS"}


def read(environment: Mapping[str, str]) -> dict[str, str] | None:
    return {name: value for name, value in environment.items() if name in _READ}


def load() -> None:
    warnings.simplefilter("ignore")  # as its `-W ignore`
    from serving.engine_plugin.cpu import allow_torchvision_without_cuda

    allow_torchvision_without_cuda()
    from serving.engine_plugin.training import checkpoint, lora  # noqa: F401


def prepare(command: Sequence[str]) -> None:
    pass


def forked(environment: Mapping[str, str]) -> None:
    pass
