"""On a CPU, SGLang's processes are forks of the first one: each begins with all modules loaded, and
with the tokenizer.

SGLang spawns them, and each imports everything once more, which takes longer than all else of a
start. It must on a GPU, since a fork cannot use what CUDA has begun.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

from serving.engine_plugin import hooks, shared_tokenizer
from serving.engine_plugin.cpu import on_cpu

_SETTLED = "sglang.srt.entrypoints.engine._set_envs_and_config"
_THREADS = Path("/proc/self/task")


def register() -> None:
    """Register the hooks, where the engine runs on a CPU.

    Raises:
        MissingTargetError: this SGLang lacks the place.
    """
    if on_cpu():
        shared_tokenizer.register()
        hooks.around(_SETTLED, ("server_args",), _settled)


def _settled(original: hooks.Hook, *args: Any, **options: Any) -> Any:
    result = original(*args, **options)
    shared_tokenizer.load(args[0] if args else options["server_args"])
    if _is_alone():
        multiprocessing.set_start_method("fork", force=True)  # SGLang has just said "spawn"
    return result


def _is_alone() -> bool:
    """Whether this is the process's only thread: a fork would lack the others, and keep the locks
    that they hold."""
    return _THREADS.is_dir() and len(list(_THREADS.iterdir())) == 1
