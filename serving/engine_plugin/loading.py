"""`python -m serving.engine_plugin.loading`: loads what a worker and a training load, and ends.

The installer's last step on a CPU. What is loaded is compiled by that, for whoever may write
nothing here later: all of the environment would take a minute of two cores, and most of it is
never loaded. And an environment that does not load is told by the installer.
"""

from __future__ import annotations

import os
from importlib import import_module

from serving.engine_plugin import models
from serving.engine_plugin.cpu import PLATFORM, allow_torchvision_without_cuda

_WORKER = (
    "sglang.launch_server",
    "sglang.srt.entrypoints.http_server",
    "sglang.srt.managers.scheduler",
    "sglang.srt.managers.detokenizer_manager",
    "sglang.srt.model_executor.model_runner",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
)
_TRAINING = ("peft",)
# Of what the launcher sets, that which SGLang and ours read meanwhile.
AS_THE_LAUNCHER = {
    "BULKHEAD_ENGINE_DEVICE": "cpu",
    "SGLANG_PLATFORM": PLATFORM,
    "SGLANG_EXTERNAL_MODEL_PACKAGE": models.__name__,
}


def load_worker() -> None:
    """What a worker on a CPU loads; the environment is as its launcher makes it."""
    allow_torchvision_without_cuda()
    for name in _WORKER:
        import_module(name)


def main() -> None:
    """Load all of it."""
    os.environ.update(AS_THE_LAUNCHER)
    load_worker()
    for name in _TRAINING:
        import_module(name)


if __name__ == "__main__":
    main()
