"""A module that measures, run in a process of its own, which has loaded nothing of this one's."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def alone(module: str) -> dict[str, Any]:
    """What `python -m module` prints: one JSON object."""
    done = subprocess.run(
        [sys.executable, "-m", module], stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result
