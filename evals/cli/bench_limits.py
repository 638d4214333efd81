"""`bulkhead bench limits`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from evals.performance.limits import Plan, measure
from evals.report import write
from serving.cli.output import err, out


def limits(
    rounds: Annotated[int, typer.Option(min=1, help="Rushes of each side.")] = 5,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """What a rush on four gateways gets of a limit: reserved before, and counted after."""
    with err.status("starting") as status:
        result = asyncio.run(measure(Plan(rounds=rounds), status.update))
    table = Table("", "served of the limit, at most", "at least")
    for side, found in result["sides"].items():
        shares = (f"{found[which]:.1%}" for which in ("most", "least"))
        table.add_row(side.replace("_", " "), *shares)
    out.print(table)
    out.print(f"a request: {result['reserve_and_settle_ms']['p50']} ms")
    if save is not None:
        write(save, result)
