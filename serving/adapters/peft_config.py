"""PEFT's `adapter_config.json`: read strictly, and written anew from what was understood.

What PEFT can say and SGLang does not do (DoRA, rank-stabilized scaling, patterns, added tokens) is
refused: the engine would load it and compute something else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel as Model
from pydantic import ConfigDict, Field, FiniteFloat, ValidationError

from serving.adapters.base_model import BaseModel
from serving.adapters.errors import (
    AdapterBaseError,
    AdapterConfigError,
    AdapterModulesError,
    AdapterRankError,
)
from serving.engine.launch import LORA_MODULES

CONFIG_FILE = "adapter_config.json"
_MOST_BYTES = 64_000
# What training needed and serving does not.
_UNUSED = frozenset(
    (
        "auto_mapping",
        "inference_mode",
        "init_lora_weights",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
    )
)
_PLAIN: dict[str, tuple[Any, ...]] = {"bias": ("none",), "task_type": ("CAUSAL_LM", None)}
# Every other field, of later versions of PEFT too, switches something on that is not plain LoRA.
_OFF: tuple[Any, ...] = (None, False, "", [], {})


class LoraConfig(Model):
    """The parts of the configuration that describe a plain LoRA."""

    model_config = ConfigDict(strict=True, frozen=True)

    peft_type: str
    base_model_name_or_path: str = Field(max_length=512)
    r: int = Field(ge=1, le=4096)
    lora_alpha: FiniteFloat = Field(gt=0, le=1e6)
    target_modules: list[str] = Field(min_length=1, max_length=64)

    def written(self) -> bytes:
        """What the engine will read: nothing that was not checked."""
        return json.dumps(self.model_dump() | {"bias": "none", "task_type": "CAUSAL_LM"}).encode()


def read_lora_config(path: Path, base: BaseModel, max_rank: int) -> LoraConfig:
    """The configuration in a file, if the platform can serve what it describes.

    Raises:
        AdapterRefusedError: it cannot; the subclass and the message say why.
    """
    config = _parsed(path)
    if config.peft_type != "LORA":
        raise AdapterConfigError("peft_type: only LORA is served.")
    if not base.fits(config.base_model_name_or_path):
        raise AdapterBaseError(
            f"base_model_name_or_path: this platform's base model is {base.name}, and the adapter "
            "was made for another."
        )
    if config.r > max_rank:
        raise AdapterRankError(f"r: the rank is {config.r}, and at most {max_rank} is served.")
    _check_modules(config.target_modules)
    return config


def _parsed(path: Path) -> LoraConfig:
    if path.stat().st_size > _MOST_BYTES:
        raise AdapterConfigError(f"{CONFIG_FILE} has more than {_MOST_BYTES} bytes.")
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise AdapterConfigError(f"{CONFIG_FILE} is not valid JSON.") from None
    if not isinstance(content, dict):
        raise AdapterConfigError(f"{CONFIG_FILE} is not a JSON object.")
    for name in content.keys() - LoraConfig.model_fields.keys() - _UNUSED:
        if not any(_same(content[name], value) for value in _PLAIN.get(name, _OFF)):
            shown = name if name.isidentifier() and len(name) < 64 else "A field"
            raise AdapterConfigError(f"{shown}: this version serves plain LoRA only.")
    try:
        return LoraConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AdapterConfigError(f"{where}: {first['msg']}.") from None


def _check_modules(modules: list[str]) -> None:
    named = set(modules)
    if len(named) != len(modules) or not named.issubset(LORA_MODULES):
        raise AdapterModulesError(
            f"target_modules: list some of {', '.join(LORA_MODULES)}, each once."
        )
    # SGLang stacks q, k, v and gate, up; without these it fails or leaves the weights unused.
    if named & {"q_proj", "k_proj", "v_proj"} and not {"q_proj", "v_proj"} <= named:
        raise AdapterModulesError("target_modules: q_proj and v_proj are served together only.")
    if "up_proj" in named and "gate_proj" not in named:
        raise AdapterModulesError("target_modules: up_proj is served with gate_proj only.")


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right  # 0 is not False here


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key twice")
    return values


def _refuse(constant: str) -> None:
    raise ValueError(constant)
