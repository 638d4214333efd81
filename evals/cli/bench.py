"""`bulkhead bench`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from evals.performance.engine_cache import measure as measure_eviction
from evals.performance.gateway import measure, planned
from evals.performance.load import LoadError
from evals.performance.prefix import Plan as PrefixPlan
from evals.performance.prefix import measure as measure_prefix
from evals.performance.retrieval import Plan
from evals.performance.retrieval import measure as measure_retrieval
from evals.report import write
from serving.cli.engine import Model, prepared, worker_of
from serving.cli.output import err, fail, out
from serving.settings import load_settings

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


@app.command("engine-cache")
def engine_cache(
    leaves: Annotated[list[int] | None, typer.Option(min=100, help="Prefixes in the tree.")] = None,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """Evicting one prefix: the tenants' tree beside SGLang's own."""
    try:
        result = measure_eviction(load_settings(), leaves or [1_000, 4_000, 16_000])
    except LoadError as error:
        fail(f"The run says nothing: {error}.")
        raise typer.Exit(2) from None
    table = Table("leaves", "SGLang's RadixCache, us", "tenants' tree, us")
    for row in result["rows"]:
        table.add_row(*(str(row[name]) for name in ("leaves", "stock_us", "tenants_us")))
    out.print(table)
    if save is not None:
        write(save, result)


@app.command()
def prefix(
    model: Annotated[Model, typer.Option(help="tiny: two random layers.")] = Model.default,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the speed measurement.")] = 7,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """The tenants' prefix cache beside SGLang's own: chats of 20 tenants, a flood, the cost."""
    settings = load_settings()
    worker = worker_of(settings, prepared(settings, model))
    with err.status("starting") as status:
        result = asyncio.run(measure_prefix(worker, PrefixPlan(rounds=rounds), status.update))
    result = {"model": model.value, **result}
    out.print(_prefix_table(result))
    if save is not None:
        write(save, result)


def _prefix_table(result: dict[str, Any]) -> Table:
    table = Table("what", "SGLang as it is", "tenants, not scrubbed", "tenants, scrubbed")
    chats, flood = result["chats"], result["flood"]
    table.add_row("hit rate in chats", *_ends(chats, "hit_rate"))
    table.add_row("quiet tenants' hit rate alone", *_ends(flood, "alone"))
    table.add_row("the same after a flood", *_ends(flood, "after"))
    for phase, sides in result["speed"].items():
        cells = (sides[name] for name in ("stock", "scrub_off", "scrub_on"))
        texts = (f"{c['tokens_per_second']} ({100 * c['cost']:+.1f}%)" for c in cells)
        table.add_row(f"{phase}, tokens/s (cost)", *texts)
    return table


def _ends(sides: dict[str, Any], name: str) -> tuple[str, str, str]:
    return str(sides["stock"][name]), "", str(sides["scrub_on"][name])
