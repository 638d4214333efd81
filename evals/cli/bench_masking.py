"""`bulkhead bench masking`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from evals.report import write
from serving.cli.output import err, fail, out


def masking(
    messages: Annotated[int, typer.Option(min=50, help="Messages of each half of a set.")] = 1500,
    clean: Annotated[int, typer.Option(min=50, help="Messages without personal data.")] = 500,
    data: Annotated[
        Path | None, typer.Option(help="A folder with db.json: users, orders and products.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 6,
    gateway: Annotated[
        str | None,
        typer.Option(help="URL of a gateway on a real engine; its key in BULKHEAD_ADMIN_KEY."),
    ] = None,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """What masking finds, and what it leaves alone, with stock Presidio beside it.

    The exit status is 1 where a threshold is missed.
    """
    # Here and not above: they bring Presidio, and every benchmark would load it.
    from evals.privacy.first_token import Gateway
    from evals.privacy.masking import Plan, measure

    key = os.environ.get("BULKHEAD_ADMIN_KEY", "")
    if gateway is not None and not key:
        raise typer.BadParameter("set BULKHEAD_ADMIN_KEY to its key.", param_hint="--gateway")
    target = None if gateway is None else Gateway(gateway, key)
    with err.status("starting") as status:
        result = measure(Plan(messages, clean, seed, data, target), status.update)
    out.print(_masking_table(result))
    for name in ("generated", "retail", "first_token"):
        if "skipped" in result[name]:
            fail(f"Not measured: {name}. {result[name]['skipped']}")
    if save is not None:
        write(save, result)
    if not all(row["met"] for row in result["thresholds"]):
        raise typer.Exit(1)


def _masking_table(result: dict[str, Any]) -> Table:
    table = Table("threshold, on what was held out", "wanted", "seen", "met")
    for row in result["thresholds"]:
        least = row.get("at_least")
        wanted = f">= {least}" if least is not None else f"<= {row['at_most']}"
        table.add_row(row["what"], wanted, str(row["seen"]), "yes" if row["met"] else "NO")
    return table
