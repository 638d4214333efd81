"""What eight-bit weights change of a model's predictions, in the engine's environment."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from evals.performance.load import LoadError
from serving.engine.install import python
from serving.engine.launch import Worker

# Plain texts that the repository has: shop policies, as the demo answers from.
_TEXTS = Path("examples/merchants")


def measure(worker: Worker) -> dict[str, Any]:
    """Perplexity with exact weights and with rounded ones, and how often the first choice stays.

    Raises:
        LoadError: there are no texts here, or the run failed.
    """
    texts = [
        path.read_text()
        for path in sorted(_TEXTS.glob("*/documents/*"))
        if path.suffix in (".md", ".txt")
    ]
    if not texts:
        raise LoadError(f"there is no text below {_TEXTS}: run it in the repository")
    module = [str(python(worker.engine)), "-m", "serving.engine_plugin.measure_rounding"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n\n".join(texts))
        file.flush()
        try:
            run = subprocess.run(
                [*module, str(worker.model), file.name],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | {"HF_HUB_OFFLINE": "1"},
            )
        except (OSError, subprocess.CalledProcessError):
            raise LoadError("the engine's environment could not read the model") from None
    result: dict[str, Any] = json.loads(run.stdout)
    return result
