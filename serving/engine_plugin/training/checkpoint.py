"""Where a training stands, on disk: whole or not there, whenever it is killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

_FILE = "checkpoint.pt"


def save(folder: Path, digest: str, step: int, weights: dict[str, Any], optimizer: Any) -> None:
    """Keep what the next step needs. step: how many are done."""
    content = {
        "digest": digest,
        "step": step,
        "weights": weights,
        "optimizer": optimizer.state_dict(),
    }
    making = folder / f"{_FILE}.making"
    with making.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    making.replace(folder / _FILE)


def load(folder: Path, digest: str) -> dict[str, Any] | None:
    """The checkpoint of this very job, or None."""
    path = folder / _FILE
    if not path.exists():
        return None
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content if content["digest"] == digest else None


def remove(folder: Path) -> None:
    """The training is done."""
    (folder / _FILE).unlink(missing_ok=True)
