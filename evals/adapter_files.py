"""Adapters of random weights, as PEFT would write them: for what attacks and measures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from serving.adapters.base_model import ATTENTION, BaseModel
from serving.adapters.peft_config import CONFIG_FILE
from serving.adapters.weights import WEIGHTS_FILE

Files = dict[str, bytes]  # by name


def peft_config(base: str, modules: Sequence[str], rank: int, **changes: Any) -> dict[str, Any]:
    """What PEFT 0.21 writes, with changes. base: the base model's name."""
    return {
        "alpha_pattern": {},
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.05,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": list(modules),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    } | changes


def random_tensors(
    layers: int,
    shapes: Mapping[str, tuple[int, int]],
    rank: int,
    *,
    seed: int = 0,
    scale: float = 0.3,
) -> dict[str, Any]:
    """Weights for these modules (input and output features), named and shaped as PEFT does."""
    random = np.random.default_rng(seed)
    made = {}
    for layer in range(layers):
        for module, (inputs, outputs) in shapes.items():
            block = "self_attn" if module in ATTENTION else "mlp"
            name = f"base_model.model.model.layers.{layer}.{block}.{module}"
            for part, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
                values = random.normal(0, scale, shape).astype(np.float32)
                made[f"{name}.lora_{part}.weight"] = values
    return made


def packed(config: Mapping[str, Any], weights: Mapping[str, Any]) -> Files:
    """An upload's two files."""
    tensors = save(dict(weights), metadata={"format": "pt"})
    return {CONFIG_FILE: json.dumps(config).encode(), WEIGHTS_FILE: tensors}


def random_files(
    base: BaseModel,
    *,
    seed: int,
    rank: int = 4,
    scale: float = 0.3,
    modules: Sequence[str] = ("q_proj", "v_proj", "o_proj"),
) -> Files:
    """A valid adapter for this base model."""
    shapes = {module: base.shapes[module] for module in modules}
    weights = random_tensors(base.layers, shapes, rank, seed=seed, scale=scale)
    return packed(peft_config(base.folder, modules, rank), weights)


def read_files(folder: Path) -> Files:
    """An upload's two files, as they lie in a folder."""
    return {name: (folder / name).read_bytes() for name in (CONFIG_FILE, WEIGHTS_FILE)}
