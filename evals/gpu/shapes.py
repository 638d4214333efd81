"""Llamas of random weights: SGLang makes them up itself, so a shape is all that is needed."""

from __future__ import annotations

import json
import shutil
from enum import StrEnum
from pathlib import Path

# SGLang fills the weights itself; no file of sixteen gigabytes is written.
LOAD = ("--load-format", "dummy")
_WEIGHTS = "*.safetensors"


class Shape(StrEnum):
    """How large. 8b: Llama 3.1 8B's layers, over the tokenizer that the tests use."""

    large = "8b"
    tiny = "tiny"


_LARGE = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "dtype": "bfloat16",
}


def model_of(shape: Shape, tokenizer: Path, folder: Path) -> Path:
    """A model's folder without weights; `tokenizer`: a folder of the tiny model."""
    shutil.copytree(tokenizer, folder, ignore=shutil.ignore_patterns(_WEIGHTS))
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= _LARGE if shape is Shape.large else {}
    path.write_text(json.dumps(config, indent=1))
    return folder
