"""`bulkhead bench retrieval`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from evals.performance.retrieval import Plan
from evals.performance.retrieval import measure as measure_retrieval
from evals.report import write
from serving.cli.output import err, out


def retrieval(
    points: Annotated[int, typer.Option(min=100, help="Points of all tenants.")] = 100_000,
    tenants: Annotated[int, typer.Option(min=3, help="Tenants, of Zipf sizes.")] = 1_000,
    questions: Annotated[int, typer.Option(min=10, help="Questions to each tenant.")] = 200,
    grown: Annotated[int, typer.Option(min=5_000, help="Others' points at the end.")] = 500_000,
    local_questions: Annotated[int, typer.Option(min=1, help="To qdrant-client's local mode.")] = 5,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """Search of the largest, the median and the smallest tenant of one shard."""
    plan = Plan(points, tenants, questions, local_questions, grown)
    with err.status("starting") as status:
        result = asyncio.run(measure_retrieval(plan, status.update))
    out.print(_retrieval_table(result))
    out.print(_peers_table(result))
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


def _peers_table(result: dict[str, Any]) -> Table:
    table = Table("tenant", "peer", "questions", "p50 ms", "p99 ms")
    for name, peers in result["peers"].items():
        for peer, cell in peers.items():
            figures = (cell["questions"], cell["p50_ms"], cell["p99_ms"])
            table.add_row(name, peer.replace("_", " "), *map(str, figures))
    return table
