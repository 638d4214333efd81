"""The fork server of the masking's workers, from a process that has the detector's model loaded."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping, Sequence

MODULES = ("isolation.masking.forkserver",)
BORN_WITH: dict[str, str] = {}
_READ = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"}


def read(environment: Mapping[str, str]) -> dict[str, str] | None:
    return {name: value for name, value in environment.items() if name in _READ}


def load() -> None:
    from isolation.masking import detector

    detector.nlp_engine = functools.cache(detector.nlp_engine)
    detector.PresidioDetector()


def prepare(command: Sequence[str]) -> None:
    pass


def forked(environment: Mapping[str, str]) -> None:
    sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
