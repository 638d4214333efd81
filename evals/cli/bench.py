"""`bulkhead bench`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from evals.performance.gateway import measure, planned
from evals.performance.load import LoadError
from evals.performance.retrieval import Plan
from evals.performance.retrieval import measure as measure_retrieval
from evals.privacy import masking as privacy
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
def masking(
    messages: Annotated[int, typer.Option(min=50, help="Messages of each half of a set.")] = 1500,
    clean: Annotated[int, typer.Option(min=50, help="Messages without personal data.")] = 500,
    data: Annotated[
        Path | None, typer.Option(help="A folder with db.json: users, orders and products.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 6,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """What masking finds, and what it leaves alone, with stock Presidio beside it.

    The exit status is 1 where a threshold is missed.
    """
    with err.status("starting") as status:
        result = privacy.measure(privacy.Plan(messages, clean, seed, data), status.update)
    out.print(_masking_table(result))
    for name in ("generated", "retail"):
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
