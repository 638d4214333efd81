"""What the command line prints: results to standard output, progress and failures to the other."""

from __future__ import annotations

from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str) -> None:
    """One line that says what went wrong and the way out."""
    err.print(f"bulkhead: {message}", style="red", markup=False)


def note(message: str) -> None:
    """Progress: one line."""
    err.print(message, style="dim", markup=False)
