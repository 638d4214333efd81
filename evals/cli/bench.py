"""`bulkhead bench`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from evals.cli import quality
from evals.cli.bench_adapters import adapters
from evals.cli.bench_engine import engine
from evals.cli.bench_engine_cache import engine_cache
from evals.cli.bench_grammars import grammars
from evals.cli.bench_ingest import ingest
from evals.cli.bench_limits import limits
from evals.cli.bench_long_prefill import long_prefill
from evals.cli.bench_masking import masking
from evals.cli.bench_neighbours import neighbours
from evals.cli.bench_prefix import prefix
from evals.cli.bench_retrieval import retrieval
from evals.cli.bench_timing import timing
from evals.performance.gateway import measure, planned
from evals.performance.load import LoadError
from evals.report import write
from serving.cli.output import err, fail, out

app = typer.Typer(help="Benchmarks; results are JSON with machine, versions and date.")
app.command()(masking)
app.command()(adapters)
app.command()(retrieval)
app.command()(ingest)
app.command()(neighbours)
app.command()(engine)
app.command()(grammars)
app.command()(limits)
app.command("engine-cache")(engine_cache)
app.command("quality")(quality.command)
app.command()(prefix)
app.command()(timing)
app.command("long-prefill")(long_prefill)


@app.command()
def gateway(
    requests: Annotated[int, typer.Option(min=3, help="Requests of each side of a cell.")] = 1500,
    model: Annotated[
        Path | None, typer.Option(help="A model's folder: its tokenizer counts the prompts.")
    ] = None,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """What the gateway adds to a request, against a stub engine of 16 tokens."""
    try:
        result = asyncio.run(_measured(requests, model))
    except LoadError as error:
        fail(f"The run says nothing: {error}.")
        raise typer.Exit(2) from None
    out.print(_table(result))
    if save is not None:
        write(save, result)


async def _measured(requests: int, model: Path | None) -> dict[str, Any]:
    with Progress(console=err) as progress:
        task = progress.add_task("starting", total=planned(requests))

        def advance(cell: str, count: int) -> None:
            progress.update(task, advance=count, description=cell)

        return await measure(requests, model, advance)


def _table(result: dict[str, Any]) -> Table:
    table = Table("cell", "added p50 ms", "added p99 ms", "gateway req/s", "stub alone req/s")
    for cell in result["cells"]:
        name = f"{'streamed' if cell['stream'] else 'plain'} x{cell['concurrency']}"
        figures = (cell["added_p50_ms"], cell["added_p99_ms"])
        rates = (cell[side]["requests_per_second"] for side in ("gateway", "direct"))
        table.add_row(name, *(str(figure) for figure in (*figures, *rates)))
    return table
