"""How much of the engine's time may go into replacing adapters.

The engine computes nothing while it loads one, for nobody. More adapters in use than fit (thrash)
would stop everybody, base-model users too; held back, they are slow for those alone who use them.
"""

from __future__ import annotations

from collections import deque

# While one replacement runs, the next waits for its end.
_RUNNING = float("inf")
_REMEMBERED = 16


class LoadPace:
    """Replacements one after another, with pauses. share: of the time at most; 1: no pauses, and
    any number at once. Times are the event loop's, in seconds.

    What is seen of a load is also its wait for a step of the engine; the shortest of the last ones
    is nearest to what the engine stood still for.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._free_at = 0.0
        self._seen: deque[float] = deque(maxlen=_REMEMBERED)

    def held_until(self, now: float) -> float | None:
        """When the next replacement may begin; None: now."""
        return self._free_at if self._free_at > now else None

    def began(self) -> None:
        """A replacement begins."""
        if self._share < 1:
            self._free_at = _RUNNING

    def ended(self, now: float, seconds: float) -> None:
        """A replacement that took so long is over."""
        self._seen.append(seconds)
        self._free_at = now + min(self._seen) * (1 / self._share - 1)
