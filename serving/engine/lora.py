"""SGLang's routes for LoRA adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from isolation.context import OperatorContext
from serving.engine.client import EngineClient


class SglangLora:
    """Loads and unloads adapters in whichever worker is proven now.

    The worker must run on this machine, or see the folders' file system.
    """

    def __init__(self, operator: OperatorContext, client: Callable[[], EngineClient]) -> None:
        self._operator = operator
        self._client = client

    @property
    def incarnation(self) -> str:
        """Changes when another worker may answer.

        Raises:
            EngineUnavailableError: there is none that has passed the probe.
        """
        return self._client().incarnation

    async def load(self, name: str, folder: Path) -> None:
        """Load a PEFT folder under a name; SGLang has copied it when this returns.

        Raises:
            EngineUnavailableError: it refused, or does not answer.
        """
        body = {"lora_name": name, "lora_path": str(folder)}
        await self._client().ask(self._operator, "POST /load_lora_adapter", body)

    async def unload(self, name: str) -> None:
        """Unload; waits for requests that use it.

        Raises:
            EngineUnavailableError: it refused, or does not answer.
        """
        await self._client().ask(self._operator, "POST /unload_lora_adapter", {"lora_name": name})

    async def loaded(self) -> Sequence[str]:
        """All that is loaded.

        Raises:
            EngineUnavailableError: it does not answer.
        """
        client = self._client()
        listed = await client.ask(self._operator, "GET /v1/models")
        return [model["id"] for model in listed["data"] if model.get("parent")]
