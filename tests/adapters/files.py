"""Small adapters for tests: real PEFT files of a two-layer Llama, made with numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.adapter_files import packed, peft_config, random_tensors
from serving.adapters.base_model import BaseModel
from serving.adapters.checks import Upload

# The shapes of the two-layer random model (`bulkhead engine install --model tiny`).
BASE = BaseModel(
    "smollm2-135m-instruct",
    "tiny-random-b179c952-1",
    "t" * 64,
    layers=2,
    shapes={
        "q_proj": (64, 64),
        "k_proj": (64, 32),
        "v_proj": (64, 32),
        "o_proj": (64, 64),
        "gate_proj": (64, 128),
        "up_proj": (64, 128),
        "down_proj": (128, 64),
    },
)
MODULES = ["q_proj", "v_proj", "o_proj"]


def config(**changes: Any) -> dict[str, Any]:
    """What PEFT 0.21 writes, with changes."""
    own = {"lora_alpha": 8, **changes}
    return peft_config("HuggingFaceTB/SmolLM2-135M-Instruct", MODULES, 4, **own)


def tensors(
    seed: int = 0, *, rank: int = 4, modules: list[str] | None = None, scale: float = 0.3
) -> dict[str, Any]:
    """Random weights, named and shaped as PEFT does."""
    shapes = {module: BASE.shapes[module] for module in modules or MODULES}
    return random_tensors(BASE.layers, shapes, rank, seed=seed, scale=scale)


def write(
    folder: Path,
    name: str = "support",
    *,
    seed: int = 0,
    content: Mapping[str, Any] | None = None,
    weights: Mapping[str, Any] | None = None,
) -> Upload:
    """An upload's two files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in packed(content or config(), weights or tensors(seed)).items():
        (folder / file).write_bytes(data)
    return Upload(folder, name, {"accuracy": 0.9})
