"""The masker of this process, with the processes that analyse for it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from isolation.masking.masker import Masker
from isolation.masking.recognizers import RecognizerError
from isolation.masking.workers import WorkersOnDemand
from serving.control.policies import PolicyRegistry
from serving.errors import StartupError
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class OpenMasking:
    """One masker for requests and documents. `workers` start when something is to be masked."""

    masker: Masker
    workers: WorkersOnDemand


def open_masking(
    settings: Settings, policies: PolicyRegistry, stack: AsyncExitStack
) -> OpenMasking | None:
    """The masking that the settings name; None where it is off. `stack` closes it.

    Raises:
        StartupError: no recognizer is registered under a name.
    """
    if settings.masking == "off":
        return None
    try:
        workers = WorkersOnDemand(settings.masking_workers, settings.masking_recognizers)
    except RecognizerError as error:
        raise StartupError(f"BULKHEAD_MASKING_RECOGNIZERS: {error.message}") from None
    stack.push_async_callback(workers.close)
    masker = Masker(workers, policies, at_once=settings.masking_workers)
    return OpenMasking(masker, workers)
