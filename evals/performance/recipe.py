"""The plain way to run SGLang on a CPU, as a baseline: its flags, SGLang's kernels, nothing of ours
but the platform without which it does not start."""

from __future__ import annotations

import json
from pathlib import Path

from serving.key_files import write_private
from serving.supervision.process import Command

_FLAGS = (
    *("--device", "cpu", "--attention-backend", "torch_native", "--dtype", "float32"),
    *("--disable-overlap-schedule", "--max-total-tokens", "16384", "--max-running-requests", "32"),
    *("--enable-lora", "--lora-backend", "torch_native", "--max-lora-rank", "16"),
    *("--lora-target-modules", "q_proj", "k_proj", "v_proj", "o_proj"),
    *("--max-loras-per-batch", "4", "--enable-priority-scheduling"),
    *("--default-priority-value", "0", "--enable-cache-report", "--enable-metrics"),
    # The recipe's own loop spins while it is idle: it would take a core from the other side.
    "--sleep-on-idle",
)
# What differs from one start to the next.
_OWN = ("--model-path", "--host", "--port", "--api-key")


def recipe(command: Command) -> Command:
    """The same model at the same address, started as the recipe does."""
    config = Path(command.argv[-1])
    content = json.loads(config.read_text())
    arguments = content["arguments"]
    own = [arguments[arguments.index(flag) + more] for flag in _OWN for more in (0, 1)]
    plain = config.with_name(f"recipe-{config.name}")
    write_private(plain, json.dumps(content | {"arguments": [*own, *_FLAGS]}))
    module = "serving.engine_plugin.stock_worker"
    return Command([command.argv[0], "-m", module, str(plain)], command.env)
