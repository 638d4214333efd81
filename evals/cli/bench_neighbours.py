"""`bulkhead bench neighbours`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from evals.performance.neighbours import Plan, measure
from evals.report import write
from serving.cli.output import err, out


def neighbours(
    asked: Annotated[int, typer.Option(min=2, help="Short requests of each way.")] = 12,
    messages: Annotated[int, typer.Option(min=1, help="Long messages in flight.")] = 4,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """A tenant's short requests beside another's long ones: in turns, and first come."""
    with err.status("starting") as status:
        result = asyncio.run(measure(Plan(asked, messages=messages), status.update))
    table = Table("shared", "way", "p50 ms", "max ms")
    for part in ("embedding", "masking", "prompts"):
        for way, times in result[part]["ms"].items():
            table.add_row(part, way.replace("_", " "), str(times["p50"]), str(times["max"]))
    out.print(table)
    if save is not None:
        write(save, result)
