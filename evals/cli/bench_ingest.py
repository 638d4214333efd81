"""`bulkhead bench ingest`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from evals.performance.ingest import Plan, measure
from evals.report import write
from serving.cli.output import err, out


def ingest(
    chunks: Annotated[int, typer.Option(min=100, help="For the rate, of the real model.")] = 3_000,
    largest: Annotated[int, typer.Option(min=1_000, help="Of the memory curve.")] = 100_000,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """Ingestion against the embedding model alone, and its memory against a document's size."""
    sizes = tuple(dict.fromkeys((1_000, min(10_000, largest), largest)))
    with err.status("starting") as status:
        result = asyncio.run(measure(Plan(chunks, sizes), status.update))
    rate = result["rate"]
    share = f"{100 * rate['share_of_the_model']:.0f}% of the model alone"
    out.print(f"{rate['ingestion_chunks_per_second']} chunks/s, {share}", markup=False)
    table = Table("chunks", "added MiB", "of it passing", "chunks/s", "longest gap ms")
    shown = (
        *("chunks", "added_mib", "passing_mib", "chunks_per_second"),
        "longest_gap_of_the_event_loop_ms",
    )
    for cell in result["memory"]["sizes"]:
        table.add_row(*(str(cell[name]) for name in shown))
    out.print(table)
    if save is not None:
        write(save, result)
