"""`bulkhead bench prefix`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from evals.performance import public_prefix
from evals.performance.cost import speed
from evals.performance.engine_side import Progress
from evals.performance.prefix import Plan, measure, running
from evals.performance.public_prefix import Newcomers
from evals.report import write
from serving.cli.engine import Model, prepared, worker_of
from serving.cli.output import err, out
from serving.engine.launch import Worker
from serving.settings import load_settings

_SIDES = ("SGLang as it is", "tenants, not scrubbed", "tenants, scrubbed")


class Only(StrEnum):
    """A phase that may be asked for alone."""

    public = "public"
    cost = "cost"


def prefix(
    model: Annotated[Model, typer.Option(help="tiny: two random layers.")] = Model.default,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the speed measurement.")] = 40,
    only: Annotated[Only | None, typer.Option(help="One phase by itself.")] = None,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """The tenants' prefix cache beside SGLang's own: chats of 20 tenants, a flood, the cost."""
    settings = load_settings()
    worker = worker_of(settings, prepared(settings, model))
    with err.status("starting") as status:
        if only is Only.public:
            result = asyncio.run(_public(worker, status.update))
        elif only is Only.cost:
            result = asyncio.run(_cost(worker, rounds, status.update))
        else:
            result = asyncio.run(measure(worker, Plan(rounds=rounds), status.update))
    result = {"model": model.value, **result}
    if only is None:
        out.print(table_of(result))
    if "public" in result:
        out.print(_public_table(result["public"]))
    if only is Only.cost:
        out.print(_cost_table(result["speed"]))
    if save is not None:
        write(save, result)


async def _public(worker: Worker, progress: Progress) -> dict[str, Any]:
    async with public_prefix.running(worker, progress) as client:
        return {"public": await public_prefix.measured(client, Newcomers(), progress)}


async def _cost(worker: Worker, rounds: int, progress: Progress) -> dict[str, Any]:
    async with running(worker, progress) as sides:
        return {"speed": await speed(sides, rounds, progress)}


def _cost_table(measured: dict[str, Any]) -> Table:
    return _with_costs(Table("what", *_SIDES), measured)


def _with_costs(table: Table, measured: dict[str, Any]) -> Table:
    for phase, sides in measured.items():
        cells = (sides[name] for name in ("stock", "scrub_off", "scrub_on"))
        table.add_row(f"{phase}, tokens/s (cost; 95% of its median)", *(_speed(c) for c in cells))
    return table


def _public_table(public: dict[str, Any]) -> Table:
    table = Table("first turns of new tenants", "without a public prefix", "with one")
    rows = {"cached tokens": "most_cached_tokens", "first token, ms": "first_token_ms"}
    for title, name in rows.items():
        table.add_row(title, *(str(public[side][name]) for side in ("without", "with")))
    return table


def table_of(result: dict[str, Any]) -> Table:
    """What the command prints."""
    table = Table("what", *_SIDES)
    chats, flood = result["chats"], result["flood"]
    table.add_row("hit rate in chats", *_ends(chats, "hit_rate"))
    table.add_row("quiet tenants' hit rate alone", *_ends(flood, "alone"))
    table.add_row("the same when a flood has filled the pool", *_ends(flood, "after"))
    table.add_row("the same while it goes on", *_ends(flood, "during"))
    for when in ("alone", "during"):
        times = {side: _times(cell[f"first_token_{when}"]) for side, cell in flood.items()}
        row = (times["stock"], "", times["scrub_on"])
        table.add_row(f"their first token {when}: p50, p99, ms", *row)
    slots = result["released_slots"]
    shown = (
        f"{slots[name]['dirty']} of {slots[name]['free']}" for name in ("scrub_off", "scrub_on")
    )
    table.add_row("free slots that hold data", "", *shown)
    return _with_costs(table, result["speed"])


def _times(cell: dict[str, Any]) -> str:
    return f"{cell['p50_ms']}, {cell['p99_ms']} (of {cell['count']})"


def _speed(cell: dict[str, Any]) -> str:
    rate, cost, (low, high) = cell["tokens_per_second"], cell["cost"], cell["cost_95"]
    return f"{rate} ({100 * cost:+.1f}%; {100 * low:+.1f} to {100 * high:+.1f}%)"


def _ends(sides: dict[str, Any], name: str) -> tuple[str, str, str]:
    return str(sides["stock"][name]), "", str(sides["scrub_on"][name])
