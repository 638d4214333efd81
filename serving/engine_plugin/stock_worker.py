"""SGLang without the plugin, for comparison: `python -m serving.engine_plugin.stock_worker CONFIG`.

It reads the configuration of `serving.engine_plugin.worker` and leaves out what is the plugin's.
Nothing is served through it: the gateway's probe refuses it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from serving.engine_plugin import forking
from serving.engine_plugin.cpu import KERNELS, allow_torchvision_without_cuda, on_cpu

# SGLang loads every plugin that is installed, unless it is told which. The platform is chosen by
# another variable and stays: without it, no SGLang of this version starts on such a CPU.
os.environ["SGLANG_PLUGINS"] = "none"
os.environ[KERNELS] = "stock"
if on_cpu():
    allow_torchvision_without_cuda()


def main() -> None:
    """Serve until killed."""
    arguments = json.loads(Path(sys.argv[1]).read_text())["arguments"]
    if "--radix-cache-backend" in arguments:
        at = arguments.index("--radix-cache-backend")
        del arguments[at : at + 2]

    from sglang.launch_server import run_server
    from sglang.srt.plugins import load_plugins
    from sglang.srt.server_args import prepare_server_args

    forking.register()  # it begins as quickly as ours, which changes nothing of what it serves
    load_plugins()
    run_server(prepare_server_args(arguments))


if __name__ == "__main__":
    main()
