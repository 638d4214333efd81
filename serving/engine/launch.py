"""How one SGLang worker is started: its flags, its keys, its environment."""

from __future__ import annotations

import json
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serving.engine.client import KEEP_ALIVE_SECONDS
from serving.engine.install import python
from serving.engine.pins import Device
from serving.engine_plugin import models
from serving.engine_plugin.budgets import BACKEND
from serving.engine_plugin.chunks import SHARED
from serving.engine_plugin.cpu import KERNELS, PLATFORM
from serving.engine_plugin.lora_scrub import SCRUBS
from serving.errors import StartupError
from serving.key_files import write_private
from serving.supervision.process import Command

_CPU_FLAGS = (
    *("--attention-backend", "torch_native", "--dtype", "float32", "--disable-overlap-schedule"),
    # A chat's usual prompt is one chunk, when it is alone: two would each read all weights.
    *("--max-total-tokens", "16384", "--chunked-prefill-size", "704"),
    # Else the idle scheduler polls, and takes one core of a small machine for nothing.
    "--sleep-on-idle",
)
_COMMON_FLAGS = (
    # SGLang goes on with a prompt's chunks while there are any: a running answer would wait for
    # all of somebody's long prompt. A step of decoding after each chunk, and it waits for one; with
    # no answer to go on with, no step is left out.
    *("--prefill-decode-interval", "1", "--prefill-decode-interval-min-bs", "1"),
    "--enable-cache-report",
    "--enable-metrics",
    "--enable-priority-scheduling",
    *("--default-priority-value", "0"),
    *("--log-level-http", "warning"),
)
Kernels = Literal["int8", "float32", "stock"]
LORA_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_LOWEST_PORT, _PORTS = 20_000, 12_000
# What a worker needs of this process's environment; the platform's own secrets are not in it.
_PASSED_ON = (
    *("PATH", "HOME", "LANG", "TMPDIR", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"),
    # Some attention kernels are compiled when they are first needed.
    *("CUDA_HOME", "CUDA_PATH", "CC", "CXX"),
)


@dataclass(frozen=True, slots=True)
class Lora:
    """Room for adapters in a worker.

    rank: the highest. batch: how many different ones run at once, beside the base model. loaded:
    how many it holds in host memory.
    """

    rank: int
    batch: int
    loaded: int


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker to start. `slots` is how many requests it runs at once.

    It is stopped and started anew when it does not answer within `start_seconds`. lora: None for a
    worker that serves the base model only. scrub_adapters: nothing of an unloaded one stays.
    shared_chunk: tokens of a prompt's chunk beside running answers; 0: as many as alone.
    kernels: of a CPU, as `cpu.KERNELS` says; a GPU has SGLang's. tool_parser: SGLang's name for how
    the model writes tool calls; empty, they stay text.
    arguments: more of SGLang's flags; what is said twice, the last one counts.
    """

    engine: Path
    model: Path
    device: Device
    port: int
    slots: int
    start_seconds: float
    lora: Lora | None = None
    scrub_adapters: bool = True
    kernels: Kernels = "int8"
    tool_parser: str = ""
    shared_chunk: int = 256
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Launched:
    """Where the worker will answer, and with which key. The key is in no command line."""

    url: str
    api_key: str
    command: Command

    def __repr__(self) -> str:
        return f"Launched(url={self.url!r})"


def launch(worker: Worker, run: Path, trust: str | Path) -> Launched:
    """Write the worker's configuration below `run` (mode 0600) and say how to start it.

    trust: whose proofs it believes: the content of its trust file, or the operator's own file.
    """
    # No admin key: an operator's proof opens what SGLang would open to one.
    # Hexadecimal: one that began with a hyphen would be taken for an option.
    api_key = secrets.token_hex(32)
    port = worker.port or free_port()
    arguments = [
        *("--model-path", str(worker.model), "--host", "127.0.0.1", "--port", str(port)),
        *("--device", worker.device, "--max-running-requests", str(worker.slots)),
        *("--api-key", api_key, "--radix-cache-backend", BACKEND),
        *_COMMON_FLAGS,
        *(_CPU_FLAGS if worker.device == "cpu" else ()),
        *(("--tool-call-parser", worker.tool_parser) if worker.tool_parser else ()),
        *(_lora_flags(worker.lora, worker.device) if worker.lora is not None else ()),
        *worker.arguments,
    ]
    if isinstance(trust, str):
        text, trust = trust, run / f"engine-{port}-trust.json"
        write_private(trust, text)
    config = run / f"engine-{port}.json"
    content = {"device": worker.device, "arguments": arguments, "trust": str(trust.absolute())}
    write_private(config, json.dumps(content))
    argv = [str(python(worker.engine)), "-m", "serving.engine_plugin.worker", str(config)]
    command = Command(argv, _environment(worker))
    return Launched(f"http://127.0.0.1:{port}", api_key, command)


def _lora_flags(lora: Lora, device: Device) -> tuple[str, ...]:
    return (
        "--enable-lora",
        *("--max-lora-rank", str(lora.rank), "--lora-target-modules", *LORA_MODULES),
        # SGLang counts the base model as one of a batch, and wants to hold at least a batch.
        *("--max-loras-per-batch", str(lora.batch + 1)),
        *("--max-loaded-loras", str(max(lora.loaded, lora.batch + 1))),
        # A file that lacks a tensor is an error, and not an adapter that does half of it.
        "--lora-strict-loading",
        *(("--lora-backend", "torch_native") if device == "cpu" else ()),
    )


def free_port() -> int:
    """A loopback port that is free now.

    Below the range that the kernel gives to outgoing connections: SGLang binds its port only at
    the end of its start, and one of that range was taken meanwhile.

    Raises:
        StartupError: a hundred random ones are taken.
    """
    for _ in range(100):
        port = _LOWEST_PORT + secrets.randbelow(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise StartupError("No port is free for the engine. Set BULKHEAD_ENGINE_PORT.")


def _environment(worker: Worker) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Where ninja is, which compiles them.
    tools = str(python(worker.engine).parent)
    kept["PATH"] = os.pathsep.join(filter(None, (tools, kept.get("PATH"))))
    kept |= {"HF_HUB_OFFLINE": "1", "BULKHEAD_ENGINE_DEVICE": worker.device}
    kept[KERNELS] = worker.kernels
    kept[SHARED] = str(worker.shared_chunk)
    kept[SCRUBS] = "on" if worker.scrub_adapters else "off"
    # The models that a worker knows before it looks through all of SGLang's.
    kept["SGLANG_EXTERNAL_MODEL_PACKAGE"] = models.__name__
    # The side that keeps a connection longer must be the server, else a request meets its closing.
    kept["SGLANG_TIMEOUT_KEEP_ALIVE"] = str(2 * KEEP_ALIVE_SECONDS)
    if worker.device == "cpu":
        # By name: where the platform is missing, SGLang does not start.
        kept["SGLANG_PLATFORM"] = PLATFORM
        # With two threads the barriers cost more than the second core brings (measured: 3 times).
        kept["OMP_NUM_THREADS"] = "1"
    return kept
