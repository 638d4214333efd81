"""`bulkhead bench`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from evals.performance.gateway import measure, planned
from evals.performance.ingest import Plan as IngestPlan
from evals.performance.ingest import measure as measure_ingest
from evals.performance.load import LoadError
from evals.performance.retrieval import Plan
from evals.performance.retrieval import measure as measure_retrieval
from evals.report import write
from serving.cli.output import err, fail, out

app = typer.Typer(help="Benchmarks; results are JSON with machine, versions and date.")


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


@app.command()
def retrieval(
    points: Annotated[int, typer.Option(min=100, help="Points of all tenants.")] = 100_000,
    tenants: Annotated[int, typer.Option(min=3, help="Tenants, of Zipf sizes.")] = 1_000,
    questions: Annotated[int, typer.Option(min=10, help="Questions to each tenant.")] = 200,
    grown: Annotated[int, typer.Option(min=5_000, help="Others' points at the end.")] = 500_000,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """Search of the largest, the median and the smallest tenant of one shard."""
    plan = Plan(points, tenants, questions, grown)
    with err.status("starting") as status:
        result = asyncio.run(measure_retrieval(plan, status.update))
    out.print(_retrieval_table(result))
    if save is not None:
        write(save, result)


def _retrieval_table(result: dict[str, Any]) -> Table:
    columns = ("points", "recall@10", "post-filtered", "p50 ms", "p99 ms", "raw p50 ms", "cost")
    table = Table("tenant", *columns)
    for state in ("as_written", "optimized"):
        for name, cell in result[state].items():
            figures = (
                *(cell["points"], cell["recall_at_10"], cell["recall_at_10_post_filtered"]),
                *(cell["ours"]["p50_ms"], cell["ours"]["p99_ms"], cell["raw"]["p50_ms"]),
                f"{100 * cell['cost']:.0f}%",
            )
            table.add_row(f"{name}, {state}", *map(str, figures))
    return table


@app.command()
def ingest(
    chunks: Annotated[int, typer.Option(min=100, help="For the rate, of the real model.")] = 3_000,
    largest: Annotated[int, typer.Option(min=1_000, help="Of the memory curve.")] = 100_000,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """Ingestion against the embedding model alone, and its memory against a document's size."""
    sizes = tuple(dict.fromkeys((1_000, min(10_000, largest), largest)))
    with err.status("starting") as status:
        result = asyncio.run(measure_ingest(IngestPlan(chunks, sizes), status.update))
    rate = result["rate"]
    share = f"{100 * rate['share_of_the_model']:.0f}% of the model alone"
    out.print(f"{rate['ingestion_chunks_per_second']} chunks/s, {share}", markup=False)
    table = Table("chunks", "added MiB", "chunks/s", "longest gap ms")
    for cell in result["memory"]["sizes"]:
        gap = cell["longest_gap_of_the_event_loop_ms"]
        table.add_row(
            *map(str, (cell["chunks"], cell["added_mib"], cell["chunks_per_second"], gap))
        )
    out.print(table)
    if save is not None:
        write(save, result)
