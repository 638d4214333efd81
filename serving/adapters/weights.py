"""PEFT's `adapter_model.safetensors`: which tensors it holds, and that each weight is a number.

The `safetensors` library reads the header: it checks that the tensors cover the file without gaps
or overlaps, and nothing in the format can be executed. What is checked here is bounded beforehand.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from serving.adapters.base_model import ATTENTION, BaseModel
from serving.adapters.errors import (
    AdapterDtypeError,
    AdapterFormatError,
    AdapterNotFiniteError,
    AdapterShapeError,
)
from serving.adapters.peft_config import LoraConfig

WEIGHTS_FILE = "adapter_model.safetensors"
_MOST_HEADER_BYTES = 1_000_000
_LENGTH_BYTES = 8
_CHUNK = 4_000_000
# Bits of the exponent: all of them set is NaN or infinity (IEEE 754; bfloat16 alike).
_EXPONENTS = {"F32": ("<u4", 0x7F80_0000), "F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80)}
DTYPES = tuple(_EXPONENTS)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in the file; `begin` counts from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int

    @property
    def bytes(self) -> int:
        """Its length."""
        count = 1
        for size in self.shape:
            count *= size
        return count * np.dtype(_EXPONENTS[self.dtype][0]).itemsize


def check_weights(path: Path, config: LoraConfig, base: BaseModel) -> str:
    """The dtype of the weights in `path`, which are exactly what `config` says for `base`.

    Raises:
        AdapterRefusedError: they are not; the subclass and the message say why.
    """
    header = _header_bytes(path)
    tensors = _tensors(path)
    dtypes = {tensor.dtype for tensor in tensors}
    _check_shapes(tensors, config, base)
    _check_finite(path, _LENGTH_BYTES + header, tensors)
    return dtypes.pop()


def _header_bytes(path: Path) -> int:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if length > _MOST_HEADER_BYTES or path.stat().st_size < _LENGTH_BYTES + length:
        raise AdapterFormatError(
            f"{WEIGHTS_FILE} is not a safetensors file: its header is missing, cut short, or "
            f"longer than {_MOST_HEADER_BYTES} bytes. Save it with save_pretrained()."
        )
    return length


def _tensors(path: Path) -> list[Tensor]:
    try:
        with safe_open(path, framework="numpy") as file:
            return list(_listed(file))
    # The library raises its own, and others for what its Rust half rejects.
    except (SafetensorError, ValueError, TypeError, OverflowError, OSError):
        raise AdapterFormatError(
            f"{WEIGHTS_FILE} is not a whole safetensors file. Save it with save_pretrained()."
        ) from None


def _listed(file: Any) -> Iterator[Tensor]:
    begin = 0
    for name in file.offset_keys():
        part = file.get_slice(name)
        if part.get_dtype() not in _EXPONENTS:
            raise AdapterDtypeError(f"The weights are one of {', '.join(DTYPES)}.")
        tensor = Tensor(name, part.get_dtype(), tuple(part.get_shape()), begin)
        # Without gaps, as the library has checked: each begins where the one before ended.
        begin += tensor.bytes
        yield tensor


def _check_shapes(tensors: list[Tensor], config: LoraConfig, base: BaseModel) -> None:
    wanted = dict(_wanted(config, base))
    found = {tensor.name: tensor.shape for tensor in tensors}
    if len({tensor.dtype for tensor in tensors}) > 1:
        raise AdapterDtypeError("All weights have one type.")
    if found.keys() != wanted.keys():
        raise AdapterShapeError(
            f"The file holds {len(found)} tensors, and the configuration asks for {len(wanted)}, "
            "for every target module in every layer, named as PEFT names them."
        )
    if found != wanted:
        raise AdapterShapeError(f"The tensors' shapes are not those of {base.name} at this rank.")


def _wanted(config: LoraConfig, base: BaseModel) -> Iterator[tuple[str, tuple[int, ...]]]:
    for layer in range(base.layers):
        for module in config.target_modules:
            block = "self_attn" if module in ATTENTION else "mlp"
            name = f"base_model.model.model.layers.{layer}.{block}.{module}"
            inputs, outputs = base.shapes[module]
            yield f"{name}.lora_A.weight", (config.r, inputs)
            yield f"{name}.lora_B.weight", (outputs, config.r)


def _check_finite(path: Path, data: int, tensors: list[Tensor]) -> None:
    """Looks at the bits: no value is converted, and numpy needs no bfloat16."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for tensor in tensors:
            kind, exponent = _EXPONENTS[tensor.dtype]
            begin, end = data + tensor.begin, data + tensor.begin + tensor.bytes
            for at in range(begin, end, _CHUNK):
                bits = np.frombuffer(mapped[at : min(at + _CHUNK, end)], dtype=kind)
                if bool(((bits & exponent) == exponent).any()):
                    raise AdapterNotFiniteError("A weight is NaN or infinite. Train it again.")
