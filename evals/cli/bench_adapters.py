"""`bulkhead bench adapters`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from evals.performance.adapter_pressure import Pressure
from evals.performance.adapters import Plan, guessed_seconds, measure
from evals.report import write
from serving.cli.engine import Model, prepared, worker_of
from serving.cli.output import err, note, out
from serving.settings import load_settings


def adapters(
    model: Annotated[Model, typer.Option(help="tiny: two random layers.")] = Model.default,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the throughput.")] = 5,
    first_tokens: Annotated[int, typer.Option(min=2, help="Times that each is asked.")] = 12,
    seconds: Annotated[float, typer.Option(min=1, help="Of each load under pressure.")] = 40,
    registered: Annotated[
        list[int] | None, typer.Option(min=1, help="Adapters of the sweep; once for each size.")
    ] = None,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """What adapters cost: loads, mixed batches, thrash, and up to 1,000 registered ones."""
    settings = load_settings()
    worker = worker_of(settings, prepared(settings, model))
    pressure = Pressure(seconds=seconds, registered=tuple(registered or (10, 100, 1_000)))
    plan = Plan(first_tokens=first_tokens, rounds=rounds, pressure=pressure)
    guess = guessed_seconds(plan)
    note(f"about {guess / 60:.0f} minutes on two quiet cores")
    with err.status("starting") as status:
        result = asyncio.run(measure(worker, plan, status.update))
    result = {"model": model.value, "guessed_seconds": round(guess), **result}
    for table in _tables(result):
        out.print(table)
    if save is not None:
        write(save, result)


def _tables(result: dict[str, Any]) -> list[Table]:
    first = Table("first token", "p50 ms", "max ms")
    for name, times in result["first_token"].items():
        first.add_row(name, str(times.get("p50_ms")), str(times.get("max_ms")))
    rates = Table("eight streams", "tokens/s", "of base only, adapters off")
    for name, rate in result["throughput"].items():
        rates.add_row(name, str(rate["tokens_per_second"]), str(rate["of_base_only_off"]))
    who = ("steady_tenant", "tenant_without_adapter", "pushing_tenants")
    shown_of = [(name, f"first_token_{p}_ms") for name in who for p in ("p50", "p95")]
    titles = [f"{name.split('_')[0]} {key[12:15]} ms" for name, key in shown_of]
    thrash = Table("thrash", "answers/s", "loads of answers", *titles)
    for name in ("all_fit", "without_protection", "with_protection"):
        row = result["thrash"][name]
        figures = (row["answers_per_second"], row["loads_of_answers"])
        times = (row[group].get(key) for group, key in shown_of)
        thrash.add_row(name.replace("_", " "), *map(str, (*figures, *times)))
    columns = ("registered", "answers_per_second", "loads_of_answers", "resolve_p50_ms")
    sweep = Table(*columns, "first_token_p50_ms", "first_token_p95_ms")
    for row in result["sweep"]:
        shown = (*columns, "first_token_p50_ms", "first_token_p95_ms")
        sweep.add_row(*(str(row.get(name)) for name in shown))
    return [first, rates, thrash, sweep]
