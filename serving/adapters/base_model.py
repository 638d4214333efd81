"""What an adapter must fit: the base model's name, tokenizer and shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.engine.model_files import tokenizer_digest
from serving.errors import StartupError

# Decoders whose projections are named and shaped like Llama's.
_ARCHITECTURES = frozenset(
    ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
)
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The served model. `shapes` gives each module's (input, output) features, in every layer.

    folder: its folder's name, which PEFT writes where an adapter was trained from that.
    """

    name: str
    folder: str
    tokenizer: str
    layers: int
    shapes: Mapping[str, tuple[int, int]]

    def fits(self, name_or_path: str) -> bool:
        """Whether an adapter that names its base so was made for this one.

        Repositories and folders are called differently on every machine: the last part counts.
        """
        last = name_or_path.replace("\\", "/").rstrip("/").rpartition("/")[2]
        return last.casefold() in (self.name.casefold(), self.folder.casefold())


def read_base_model(name: str, folder: Path) -> BaseModel:
    """The base model in a Hugging Face folder.

    Raises:
        StartupError: its configuration cannot be read, or is of an architecture without adapters.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
        if not _ARCHITECTURES.intersection(config["architectures"]):
            raise StartupError(
                f"This version serves no adapters for {config['architectures'][0]}. "
                "Set BULKHEAD_ADAPTERS=off."
            )
        layers = config["num_hidden_layers"]
        return BaseModel(name, folder.name, tokenizer_digest(folder), layers, _shapes(config))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        raise StartupError(
            f"The configuration of the model in {folder} cannot be read. "
            "Correct BULKHEAD_MODEL_PATH, or set BULKHEAD_ADAPTERS=off."
        ) from None


def _shapes(config: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    queries = heads * head
    values = config.get("num_key_value_heads", heads) * head
    return {
        "q_proj": (hidden, queries),
        "k_proj": (hidden, values),
        "v_proj": (hidden, values),
        "o_proj": (queries, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }
