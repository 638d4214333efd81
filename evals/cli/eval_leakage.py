"""`bulkhead eval leakage`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.table import Table

from evals.leakage.run import Plan, measure, status
from evals.report import write
from serving.cli.output import err, out
from serving.logs import log_to


def leakage(
    attacks: Annotated[int, typer.Option(min=100, help="On store, catalogue, search.")] = 12_600,
    route_attacks: Annotated[int, typer.Option(min=70, help="On the gateway's routes.")] = 1_500,
    crowd_attacks: Annotated[
        int, typer.Option(min=100, help="While all tenants of the crowd read and write.")
    ] = 10_000,
    crowd_tenants: Annotated[int, typer.Option(min=2, help="Tenants of the crowd.")] = 50,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 8,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """Attack retrieval as a tenant: cross-tenant leakage and authorization violations, with bounds.

    Exit status: 0 held, 1 a leak, 2 a control failed or a leaky twin was not caught.
    """
    plan = Plan(
        attacks=attacks,
        route_attacks=route_attacks,
        crowd_attacks=crowd_attacks,
        crowd_tenants=crowd_tenants,
        seed=seed,
    )
    with TemporaryDirectory() as folder, err.status("starting") as shown:
        log_to(Path(folder) / "gateway.log")
        result = asyncio.run(measure(plan, shown.update))
    out.print(_rates(result))
    out.print(_twins(result))
    if save is not None:
        write(save, result)
    raise typer.Exit(status(result))


def _rates(result: dict[str, Any]) -> Table:
    table = Table("part", "attacks", "CTLR", "95% below", "AVR", "95% below", "held", "controls")
    for name in ("store", "routes", "concurrent", "ungated"):
        part = result[name]
        rates = [part[rate][what] for rate in ("ctlr", "avr") for what in ("rate", "upper_95")]
        judged = (_word(part["held"]), _word(part["controlled"]))
        table.add_row(name, *map(str, (part["attacks"], *rates, *judged)))
    return table


def _twins(result: dict[str, Any]) -> Table:
    table = Table("leaky twin", "class made for it", "caught")
    for name, twin in result["twins"].items():
        table.add_row(name, twin["made_for"], _word(twin["caught"]))
    return table


def _word(good: bool) -> str:
    return "yes" if good else "NO"
