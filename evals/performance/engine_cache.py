"""Eviction in the tenants' tree beside SGLang's own, measured in the engine's environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from evals.performance.load import LoadError
from serving.engine.install import python
from serving.settings import Settings


def measure(settings: Settings, leaves: Sequence[int]) -> dict[str, Any]:
    """Microseconds to make room for one prefix in full trees of so many leaves, mean and longest.

    Raises:
        LoadError: the engine's environment is not there, or the run failed.
    """
    module = ["-m", "serving.engine_plugin.measure_eviction", *map(str, leaves)]
    try:
        run = subprocess.run(
            [str(python(settings.engine_venv)), *module], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        raise LoadError("run 'bulkhead engine install' first, then look at its output") from None
    result: dict[str, Any] = json.loads(run.stdout)
    return result
