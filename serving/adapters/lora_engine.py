"""The engine's side of adapters: what is loaded there, by opaque names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from serving.adapters.engine_names import EngineName
from serving.adapters.neighbours import Shared
from serving.errors import EngineUnavailableError


class LoraEngine(Protocol):
    """Loads and unloads. `serving.engine.lora` is SGLang's."""

    @property
    def incarnation(self) -> str:
        """Changes when the engine starts anew, with nothing loaded.

        Raises:
            EngineUnavailableError: there is none that was proven.
        """

    async def load(self, name: str, folder: Path) -> None:
        """Load a PEFT folder under a new name; afterwards the folder is not needed.

        Raises:
            EngineUnavailableError: it refused, or does not answer.
        """

    async def unload(self, name: str) -> None:
        """Unload; waits for requests that use it.

        Raises:
            EngineUnavailableError: it refused, or does not answer.
        """

    async def loaded(self) -> Sequence[str]:
        """All that is loaded.

        Raises:
            EngineUnavailableError: it does not answer.
        """


async def is_out(engine: LoraEngine, name: EngineName) -> bool:
    """Unload; whether the engine surely does not have it any more."""
    try:
        await engine.unload(name)
    except EngineUnavailableError:
        # It may not know the name: then it is out.
        with suppress(EngineUnavailableError):
            return name not in await engine.loaded()
        return False
    return True


async def unload_strangers(
    engine: LoraEngine, known: Callable[[], Collection[EngineName]], shared: Shared | None = None
) -> None:
    """Unload what a gateway before this one loaded: nobody here knows whose it is.

    known: asked behind the list, so that a load of this gateway that is listed is among it.
    shared: where other gateways load into the same engine; what is theirs stays.

    Raises:
        EngineUnavailableError: the engine does not answer, or keeps one.
        AdapterUnavailableError: it is not known what the others have.
    """
    listed = await engine.loaded()
    theirs = await shared.theirs(listed) if shared is not None else ()
    for name in listed:
        if name in theirs or name in known():
            continue
        # Another gateway may unload it at the same time: then it is out as well.
        if not await is_out(engine, EngineName(name)):
            raise EngineUnavailableError
