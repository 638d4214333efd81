"""What is observed of an answer for a rollout: numbers, and nothing of its text."""

from __future__ import annotations

import sys

from isolation.errors import RequestRefusedError
from isolation.guard import links
from isolation.masking import canaries, output
from serving.adapters.errors import AdapterPlacesTakenError
from serving.errors import DeadlineExceededError
from serving.gateway.privacy_ports import Vault
from serving.metering.meter import Meter
from serving.rollout.figures import ArmFigures
from serving.rollout.histogram import Histogram
from serving.rollout.refusals import declines

# Raised of a request whose version was not tried: others have the places.
_OTHERS = (AdapterPlacesTakenError, DeadlineExceededError)
_MARKS = (links.REMOVED, output.REMOVED, canaries.REMOVED)


class Watched:
    """Follows one answer from its turn at the engine to its end, however it ends."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._vault: Vault | None = None
        self._began, self._before = False, 0
        self._leaks: int | None = None

    def began(self, vault: Vault) -> None:
        """The version is asked: what happens now counts, but for what others cause.

        The time to the first token is counted from when the version is in the engine: how long it
        waits for a place there is the other adapters' doing, and how long its load takes is the
        store's and the engine's. An error of its own load counts.
        """
        self._began, self._vault = True, vault
        # A shadow shares the vault of the answer that was sent.
        self._before = vault.tripped

    def said(self) -> None:
        """The answer's text is complete. What is removed from its sources later is not its leak."""
        self._leaks = self._tripped()

    def figures(self) -> ArmFigures | None:
        """What to count, called in a `finally`; None if the version was never asked, or the
        request was refused for what it is, or for want of a place."""
        error = sys.exc_info()[1]
        if not self._began or _is_not_the_versions(error):
            return None
        answer, whole = self._meter.written, error is None
        ttft, gap = self._meter.waited, self._meter.mean_gap
        return ArmFigures(
            requests=1,
            errors=isinstance(error, Exception),
            refusals=whole and declines(answer),
            removals=any(mark in answer for mark in _MARKS),
            leaks=bool(self._tripped() if self._leaks is None else self._leaks),
            characters=len(answer),
            ttft=Histogram() if isinstance(error, Exception) else Histogram.of(ttft),
            gaps=Histogram() if gap is None else Histogram.of(gap),
        )

    def _tripped(self) -> int:
        return 0 if self._vault is None else self._vault.tripped - self._before


def _is_not_the_versions(error: BaseException | None) -> bool:
    if isinstance(error, _OTHERS):
        return True
    return isinstance(error, RequestRefusedError) and error.status < 500
