"""Runs one SGLang server: `python -m serving.engine_plugin.worker CONFIG.json`.

The configuration is a file of mode 0600, `{"device": "cpu" | "cuda", "arguments": [...], "trust":
PATH}`: keys must not stand in a command line. SGLang spawns its processes by importing this module
again, so what stands at the top runs in each of them before SGLang is imported.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from serving.engine_plugin import hooks
from serving.engine_plugin.cpu import allow_torchvision_without_cuda, on_cpu
from serving.engine_plugin.identity import become

if on_cpu():
    allow_torchvision_without_cuda()


def main() -> None:
    """Serve until killed."""
    config = json.loads(Path(sys.argv[1]).read_text())
    become(config["trust"])

    # Loading makes little garbage; and what was loaded is not looked through later, which would
    # hold up a step, and copy it in a fork.
    gc.disable()
    from sglang.launch_server import run_server
    from sglang.srt.plugins import load_plugins
    from sglang.srt.server_args import prepare_server_args

    load_plugins()
    hooks.require_in_force()
    gc.freeze()
    gc.enable()
    run_server(prepare_server_args(config["arguments"]))


if __name__ == "__main__":
    main()
