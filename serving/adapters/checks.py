"""All checks of an upload, before anything of it is stored."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.adapters.base_model import BaseModel
from serving.adapters.errors import AdapterFilesError, AdapterTooLargeError
from serving.adapters.manifest import FileEntry
from serving.adapters.peft_config import CONFIG_FILE, LoraConfig, read_lora_config
from serving.adapters.weights import WEIGHTS_FILE, check_weights

FILES = (CONFIG_FILE, WEIGHTS_FILE)


@dataclass(frozen=True, slots=True)
class AdapterLimits:
    """What the operator accepts. `versions`: of one tenant, over all its adapters."""

    rank: int
    bytes: int
    versions: int


@dataclass(frozen=True, slots=True)
class Upload:
    """What arrived, not yet believed: files in a private folder, and a name."""

    folder: Path
    name: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Checked:
    """An upload that the platform can serve."""

    config: LoraConfig
    dtype: str
    files: dict[str, FileEntry]


def check_upload(upload: Upload, base: BaseModel, limits: AdapterLimits) -> Checked:
    """Check the files; the configuration is written anew. CPU-bound: run it in a thread.

    Raises:
        AdapterRefusedError: they are not an adapter of `base`; the subclass says why.
        AdapterTooLargeError: they are too large.
    """
    if sorted(os.listdir(upload.folder)) != sorted(FILES):
        raise AdapterFilesError(f"Send exactly the two files {' and '.join(FILES)}.")
    config_file, weights_file = (upload.folder / name for name in FILES)
    if config_file.stat().st_size + weights_file.stat().st_size > limits.bytes:
        raise AdapterTooLargeError(limits.bytes)
    config = read_lora_config(config_file, base, limits.rank)
    dtype = check_weights(weights_file, config, base)
    config_file.write_bytes(config.written())
    return Checked(config, dtype, {name: file_entry(upload.folder / name) for name in FILES})


def file_entry(path: Path) -> FileEntry:
    """A file's digest and length."""
    with path.open("rb") as file:
        return FileEntry(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)
