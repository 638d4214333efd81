"""`bulkhead eval adapters`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.table import Table

from evals.adapters.run import Plan, measure, status
from evals.report import write
from serving.cli.engine import Model, prepared
from serving.cli.output import err, out
from serving.logs import log_to
from serving.settings import load_settings


def adapters(
    requests: Annotated[int, typer.Option(min=50, help="Of all tenants together.")] = 1_000,
    model: Annotated[Model, typer.Option(help="tiny: two random layers.")] = Model.tiny,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 5,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """The right adapter for every request, under load, reloads and canary shifts, on real SGLang.

    Exit status: 0 held, 1 a wrong answer or a foreign prefix, 2 a control failed.
    """
    folder = prepared(load_settings(), model)
    plan = Plan(requests=requests, seed=seed)
    with TemporaryDirectory() as logs, err.status("starting") as shown:
        log_to(Path(logs) / "gateway.log")
        result = asyncio.run(measure(folder, plan, shown.update))
    result = {"model": model.value, **result}
    out.print(_table(result))
    if save is not None:
        write(save, result)
    raise typer.Exit(status(result))


def _table(result: dict[str, Any]) -> Table:
    said, cache = result["answers"], result["cache"]
    table = Table("what", "events", "of", "95% below")
    for name, one in (
        ("wrong adapter", said["wrong"]),
        ("foreign prefix hit", cache["foreign"]),
        ("prefix hit after a reload", cache["after_reload"]),
        ("hit that nothing explains", cache["unexplained"]),
    ):
        table.add_row(name, *(str(one[key]) for key in ("events", "trials", "upper_95")))
    own = cache["own_repeated"]
    table.add_row("control: own prefix hit", str(own["hit"]), str(own["of"]), "")
    for name, twin in result["twins"].items():
        seen = "caught" if twin["caught"] else "NOT CAUGHT"
        kind = "wrong" if "wrong" in twin else "after_reload"
        table.add_row(f"twin {name}: {kind}", str(twin[kind]["events"]), "", seen)
    return table
