"""`bulkhead eval demo`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from evals.cli.eval_adapters import adapters
from evals.cli.eval_adapters_quality import adapters_quality
from evals.cli.eval_leakage import leakage
from evals.quality.demo import Answered, Deployment, as_json, ask_all, summary
from evals.report import write
from serving.cli.output import err, out
from serving.settings import load_settings

app = typer.Typer(help="Evaluations of answers.", no_args_is_help=True)
app.command()(leakage)
app.command()(adapters)
app.command()(adapters_quality)


@app.command()
def demo(
    merchants: Annotated[Path, typer.Option(help="The merchants' folder.")] = Path(
        "examples/merchants"
    ),
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """Ask the running demo its ten questions, streamed and not. Fails on a foreign passage."""
    deployment = Deployment.of(load_settings().data_dir / "demo.json", merchants)
    answers = asyncio.run(_ask(deployment))
    counts = summary(answers)
    columns = ("answers", "right_passage", "right_passage_first", "fact_in_answer", "foreign")
    table = Table("merchant", *columns)
    for tenant, row in counts.items():
        table.add_row(tenant, *(str(row[column]) for column in columns))
    out.print(table)
    if save is not None:
        write(save, {"summary": counts, "answers": as_json(answers)})
    raise typer.Exit(0 if _passed(answers) else 1)


def _passed(answers: list[Answered]) -> bool:
    """None foreign, and at least nine of ten right for each merchant."""
    counts = summary(answers).values()
    return all(c["foreign"] == 0 and c["right_passage"] >= 0.9 * c["answers"] for c in counts)


async def _ask(deployment: Deployment) -> list[Answered]:
    total = 2 * sum(len(deployment.questions(tenant)) for tenant in deployment.keys)
    with Progress(console=err) as progress:
        task = progress.add_task("asking", total=total)
        return await ask_all(deployment, lambda: progress.advance(task))
