"""Small adapters for tests: real PEFT files of a two-layer Llama, made with numpy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from serving.adapters.base_model import ATTENTION, BaseModel
from serving.adapters.checks import Upload
from serving.adapters.peft_config import CONFIG_FILE
from serving.adapters.weights import WEIGHTS_FILE

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
    return {
        "alpha_pattern": {},
        "base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": 8,
        "lora_dropout": 0.05,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": 4,
        "target_modules": MODULES,
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    } | changes


def tensors(
    seed: int = 0, *, rank: int = 4, modules: list[str] | None = None, scale: float = 0.3
) -> dict[str, Any]:
    """Random weights, named and shaped as PEFT does."""
    random = np.random.default_rng(seed)
    made = {}
    for layer in range(BASE.layers):
        for module in modules or MODULES:
            block = "self_attn" if module in ATTENTION else "mlp"
            name = f"base_model.model.model.layers.{layer}.{block}.{module}"
            inputs, outputs = BASE.shapes[module]
            for part, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
                values = random.normal(0, scale, shape).astype(np.float32)
                made[f"{name}.lora_{part}.weight"] = values
    return made


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
    (folder / CONFIG_FILE).write_text(json.dumps(content or config()))
    save_file(dict(weights or tensors(seed)), folder / WEIGHTS_FILE, metadata={"format": "pt"})
    return Upload(folder, name, {"accuracy": 0.9})
