"""`bulkhead bench engine`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from evals.performance import rounding
from evals.performance.engine import measure
from evals.performance.metered_load import Mix
from evals.report import write
from serving.cli.engine import Model, prepared, worker_of
from serving.cli.output import err, out
from serving.settings import load_settings


def engine(
    model: Annotated[Model, typer.Option(help="tiny: two random layers.")] = Model.default,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; medians are reported.")] = 7,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """Our engine on this machine beside the plain recipe: tokens per second; and its metering."""
    settings = load_settings()
    worker = worker_of(settings, prepared(settings, model))
    with err.status("starting") as status:
        result = asyncio.run(measure(worker, rounds, Mix(), status.update))
        status.update("predictions with rounded weights")
        quality = rounding.measure(worker)
    out.print(_phases(result["phases"]))
    out.print(_metering(result["metering"]))
    out.print(
        f"perplexity {quality['perplexity_exact']}, with weights of eight bits "
        f"{quality['perplexity_rounded']}; the same first choice at "
        f"{100 * quality['same_first_choice']:.1f}% of {quality['tokens']} tokens"
    )
    if save is not None:
        write(save, {"model": model.value, **result, "rounding": quality})


def _phases(phases: dict[str, Any]) -> Table:
    table = Table("phase", "the recipe, tokens/s", "ours, tokens/s", "times", "of the rounds")
    for phase, cell in phases.items():
        times = cell["rounds"]["times"]
        figures = (str(cell[name]) for name in ("recipe", "ours", "times"))
        table.add_row(phase, *figures, f"{min(times)} to {max(times)}")
    return table


def _metering(load: dict[str, Any]) -> Table:
    table = Table("a mixed load's", "requests", "aborted", "metered, s", "busy, s", "ratio")
    names = ("requests", "aborted", "metered_seconds", "busy_seconds", "ratio")
    table.add_row("metering", *(str(load[name]) for name in names))
    return table
