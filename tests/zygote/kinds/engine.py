"""The engine's workers, and tests of SGLang's parts, from a process that has SGLang loaded."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_WORKERS = ("serving.engine_plugin.worker", "serving.engine_plugin.stock_worker")
MODULES = (*_WORKERS, "tests.engine.inside.run")
BORN_WITH: dict[str, str] = {}
# What no module of SGLang's or ours reads while it is loaded.
_FREE = {
    *("PATH", "HOME", "TMPDIR"),
    # Python sets the second one where the first is missing.
    *("LANG", "LC_CTYPE"),
    *("BULKHEAD_ENGINE_KERNELS", "BULKHEAD_ENGINE_SHARED_CHUNK", "BULKHEAD_ENGINE_SCRUB_ADAPTERS"),
    "SGLANG_ENABLE_REQUEST_HEADER_OVERRIDES",
}
# What every worker has, and all that it has beside that.
_READ = {
    *("BULKHEAD_ENGINE_DEVICE", "HF_HUB_OFFLINE", "OMP_NUM_THREADS", "SGLANG_PLATFORM"),
    *("SGLANG_EXTERNAL_MODEL_PACKAGE", "SGLANG_TIMEOUT_KEEP_ALIVE"),
}
# What SGLang reads while it is loaded and tests set otherwise: put right in the fork.
_PUT_RIGHT = {"SGLANG_TEST_RETRACT": ("sglang.srt.managers.scheduler", "TEST_RETRACT")}


def read(environment: Mapping[str, str]) -> dict[str, str] | None:
    wanted = {
        name: value for name, value in environment.items() if name not in _FREE | _PUT_RIGHT.keys()
    }
    return wanted if wanted.keys() == _READ else None


def load() -> None:
    from serving.engine_plugin import loading

    loading.load_worker()


def prepare(command: Sequence[str]) -> None:
    """Once for all workers of a model: its tokenizer, as they load it themselves."""
    from serving.engine_plugin import shared_tokenizer

    if command[0] not in _WORKERS:
        return
    arguments = json.loads(Path(command[1]).read_text())["arguments"]
    loader = sys.modules["sglang.srt.utils.hf_transformers.tokenizer"].get_tokenizer
    with suppress(Exception):  # what cannot be loaded is the worker's to tell
        shared_tokenizer.once(
            loader,
            arguments[arguments.index("--model-path") + 1],
            tokenizer_mode="auto",
            trust_remote_code=False,
            revision=None,
            tokenizer_backend="huggingface",
        )


def forked(environment: Mapping[str, str]) -> None:
    for name, (module, constant) in _PUT_RIGHT.items():
        setattr(sys.modules[module], constant, name in environment)
