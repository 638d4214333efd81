"""SGLang without the plugin: `python stock_worker.py CONFIG.json`. The twin that leaks.

What stands at the top runs in each of SGLang's processes, as in `serving.engine_plugin.worker`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ in ("__main__", "__mp_main__"):
    from serving.engine_plugin.cpu import prepare_process

    prepare_process()


def main() -> None:
    arguments = json.loads(Path(sys.argv[1]).read_text())["arguments"]
    at = arguments.index("--radix-cache-backend")
    del arguments[at : at + 2]

    from sglang.launch_server import run_server
    from sglang.srt.server_args import prepare_server_args

    run_server(prepare_server_args(arguments))


if __name__ == "__main__":
    main()
