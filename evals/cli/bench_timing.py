"""`bulkhead bench timing`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from evals.performance import guesses, oracle
from evals.report import write
from serving.cli.engine import Model, prepared, worker_of
from serving.cli.output import err, out
from serving.settings import load_settings


def timing(
    model: Annotated[Model, typer.Option(help="tiny: two random layers.")] = Model.tiny,
    trials: Annotated[int, typer.Option(min=5, help="Prompts of each kind.")] = 250,
    orders: Annotated[int, typer.Option(min=5, help="Rounds of guesses sent at once.")] = 60,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """Whether times, or the order of answers, tell one tenant what another one asked.

    The exit status is 1 where they do, and 2 where the attack does not work on its controls.
    """
    settings = load_settings()
    worker = worker_of(settings, prepared(settings, model))
    with err.status("starting") as status:
        times = asyncio.run(oracle.measure(worker, trials, status.update))
        order = asyncio.run(guesses.measure(worker, orders, status.update))
    out.print(_table(times, order))
    if save is not None:
        write(save, {"model": model.value, "times": times, "order": order})
    raise typer.Exit(_status(times, order))


def _status(times: dict[str, Any], order: dict[str, Any]) -> int:
    kinds, sides = times["kinds"], order["sides"]
    if kinds["foreign"]["told_apart"] or sides["ours"]["p"] < oracle.ALPHA:
        return 1
    works = kinds["own"]["told_apart"] and kinds["shared"]["told_apart"]
    return 0 if works and sides["shared"]["p"] < oracle.ALPHA else 2


def _table(times: dict[str, Any], order: dict[str, Any]) -> Table:
    table = Table("prompt", "median", "p against chance")
    table.add_row("new", f"{times['new']['median_ms']} ms", "")
    for kind, seen in times["kinds"].items():
        table.add_row(kind, f"{seen['median_ms']} ms", f"{seen['p']:.1e}")
    for side, seen in order["sides"].items():
        rank = f"rank {seen['mean_rank']}, chance {seen['chance']}"
        table.add_row(f"right guess, {side}", rank, f"{seen['p']:.1e}")
    return table
