"""The gateways that load adapters into the same engine: what is theirs is not tidied away."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from serving.adapters.engine_names import EngineNames


class Neighbours(Protocol):
    """The other gateways. `serving.control.presence` finds them in the database."""

    async def owners(self) -> Collection[str]:
        """Ids of the others that are there, or were a moment ago.

        Raises:
            AdapterUnavailableError: it cannot be known now.
        """


class Shared:
    """An engine that other gateways load adapters into as well."""

    def __init__(self, names: EngineNames, neighbours: Neighbours) -> None:
        self._names = names
        self._neighbours = neighbours

    async def theirs(self, listed: Sequence[str]) -> Collection[str]:
        """Which of the engine's adapters another living gateway loaded.

        listed: asked for before this. A gateway says that it is there before it loads anything, so
        whoever loaded what is listed is found.

        Raises:
            AdapterUnavailableError: it cannot be known now.
        """
        owners = await self._neighbours.owners()
        return {name for name in listed if any(self._names.is_of(one, name) for one in owners)}
