"""A hand-written stand-in for an engine's LoRA routes; `test_lora_engine` holds it to SGLang."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from serving.adapters.peft_config import CONFIG_FILE
from serving.adapters.weights import WEIGHTS_FILE
from serving.errors import EngineUnavailableError


class FakeLoraEngine:
    """Keeps what was loaded, by name. `slowly`: loads wait for it. `broken`: nothing works."""

    def __init__(self) -> None:
        self.incarnation = "first"
        self.weights: dict[str, bytes] = {}
        self.folders: list[Path] = []
        self.modes: list[int] = []
        self.loads = 0
        self.most = 0
        self.slowly = asyncio.Event()
        self.slowly.set()
        self.broken = False
        self.stuck: set[str] = set()

    def restart(self) -> None:
        """Another process: nothing is loaded."""
        self.incarnation += "+"
        self.weights.clear()

    async def load(self, name: str, folder: Path) -> None:
        self.loads += 1
        self.folders.append(folder)
        self.modes.append(folder.stat().st_mode & 0o777)
        await self.slowly.wait()
        if self.broken or name in self.weights or not (folder / CONFIG_FILE).exists():
            raise EngineUnavailableError
        json.loads((folder / CONFIG_FILE).read_text())
        self.weights[name] = (folder / WEIGHTS_FILE).read_bytes()
        self.most = max(self.most, len(self.weights))

    async def unload(self, name: str) -> None:
        await asyncio.sleep(0)
        if self.broken or name in self.stuck or name not in self.weights:
            raise EngineUnavailableError
        del self.weights[name]

    async def loaded(self) -> Sequence[str]:
        if self.broken:
            raise EngineUnavailableError
        return list(self.weights)
