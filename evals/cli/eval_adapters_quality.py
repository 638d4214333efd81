"""`bulkhead eval adapters-quality`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from evals.quality.adapter_ablations import ablations
from evals.quality.adapter_answers import ask_all, held_out, weights_of
from evals.quality.adapter_report import report
from evals.quality.demo import Deployment
from evals.report import write
from serving.cli.output import err, out
from serving.settings import load_settings


def adapters_quality(
    adapter: Annotated[str, typer.Option(help="Its name, of each merchant.")] = "voice",
    most: Annotated[
        int | None, typer.Option("--questions", min=1, help="Of each merchant; for a look.")
    ] = None,
    ablated: Annotated[
        int,
        typer.Option("--ablations", min=0, help="Questions asked of changed documents; 0: none."),
    ] = 25,
    merchants: Annotated[Path, typer.Option(help="The merchants' folder.")] = Path(
        "examples/merchants"
    ),
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """Ask the running demo what no adapter was trained on: the base model, then the adapter.

    For the ablations the demo's documents are changed and taken away, and put back at the end.
    """
    deployment = Deployment.of(load_settings().data_dir / "demo.json", merchants)
    with Progress(console=err) as progress:
        total = sum(len(held_out(tenant)[:most]) for tenant in deployment.keys)
        task = progress.add_task("asking", total=total + 2 * ablated * len(deployment.keys))
        digests = asyncio.run(weights_of(deployment, adapter))
        asked = asyncio.run(ask_all(deployment, adapter, most, lambda: progress.advance(task)))
        result: dict[str, Any] = {"adapter": adapter, "weights_sha256": digests, **report(asked)}
        out.print(_table(result["measures"]))
        if save is not None:
            # Before what comes next, which takes as long again and may be interrupted.
            write(save, result)
        if ablated:
            ablation = ablations(deployment, adapter, ablated, lambda: progress.advance(task))
            result["ablations"] = asyncio.run(ablation)
            for name in ("numbers_changed", "documents_removed"):
                out.print(_table(result["ablations"][name]))
            if save is not None:
                write(save, result)


def _table(measures: dict[str, Any]) -> Table:
    table = Table("merchant", "measure", "base", "adapter", "difference [95%]")
    for merchant, cells in measures.items():
        for name, cell in cells.items():
            if isinstance(cell, dict) and "difference" in cell:
                gained = cell["difference"]
                shown = f"{gained['mean']:+.2f} [{gained['low']:+.2f}, {gained['high']:+.2f}]"
                table.add_row(merchant, name, _of(cell["base"]), _of(cell["adapter"]), shown)
    return table


def _of(share: dict[str, Any]) -> str:
    return f"{share['count']}/{share['of']}"
