"""Text that goes out piece by piece, changed on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class StreamTransform(Protocol):
    """Changes a text that arrives in pieces; used for one stream and then thrown away.

    What it emits over all calls depends on the whole text alone, never on where it was cut.
    """

    def feed(self, text: str) -> str:
        """What can already go out after `text` has arrived; possibly empty."""
        ...

    def flush(self) -> str:
        """What was still held back. The last call."""
        ...


class AsyncTransform(Protocol):
    """The same for what must ask somebody else."""

    async def feed(self, text: str) -> str:
        """What can already go out after `text` has arrived; possibly empty."""
        ...

    async def flush(self) -> str:
        """What was still held back. The last call."""
        ...


class Unchanged:
    """An `AsyncTransform` that lets everything pass."""

    async def feed(self, text: str) -> str:
        return text

    async def flush(self) -> str:
        return ""


class Chain:
    """Transforms one after another, as one transform."""

    def __init__(self, transforms: Sequence[StreamTransform]) -> None:
        self._transforms = tuple(transforms)

    def feed(self, text: str) -> str:
        for transform in self._transforms:
            text = transform.feed(text)
        return text

    def flush(self) -> str:
        """Flushes in order: what one held back still passes through those after it."""
        text = ""
        for transform in self._transforms:
            text = transform.feed(text) + transform.flush()
        return text
