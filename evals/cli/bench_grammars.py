"""`bulkhead bench grammars`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from evals.performance.grammars import Plan, measure
from evals.report import write
from serving.cli.engine import Model, prepared, worker_of
from serving.cli.output import err, out
from serving.settings import load_settings


def grammars(
    model: Annotated[Model, typer.Option(help="tiny: two random layers.")] = Model.tiny,
    chats: Annotated[int, typer.Option(min=1, help="Of the neighbour, in each part.")] = 30,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """What others' tool schemas cost a chat, and tell a tenant; ours and SGLang's own."""
    settings = load_settings()
    worker = worker_of(settings, prepared(settings, model))
    with err.status("starting") as status:
        result = asyncio.run(measure(worker, Plan(chats=chats), status.update))
    table = Table("", "alone, ms", "beside schemas", "longest", "a schema of another tenant's")
    for name in ("ours", "stock"):
        side = result[name]
        alone, beside = side["alone_ms"], side["beside_schemas_ms"]
        told = side["of_first_compilation"]["another_tenants"]
        table.add_row(name, *map(str, (alone["p50"], beside["p50"], beside["max"], told)))
    out.print(table)
    if save is not None:
        write(save, {"model": model.value, **result})
