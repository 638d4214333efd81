"""The parsers' own process, from one that has LlamaIndex loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

MODULES = ("rag.reading.server",)
BORN_WITH: dict[str, str] = {}
_READ = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"}
_PATH = os.environ.get("PYTHONPATH")  # which Python has read when it began


def read(environment: Mapping[str, str]) -> dict[str, str] | None:
    if environment.get("PYTHONPATH") != _PATH:
        return None
    return {name: value for name, value in environment.items() if name in _READ}


def load() -> None:
    import rag.reading.reader  # noqa: F401


def prepare(command: Sequence[str]) -> None:
    pass


def forked(environment: Mapping[str, str]) -> None:
    pass
