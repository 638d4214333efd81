"""`bulkhead bench engine-cache`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from evals.performance.engine_cache import measure as measure_eviction
from evals.performance.load import LoadError
from evals.report import write
from serving.cli.output import fail, out
from serving.settings import load_settings


def engine_cache(
    leaves: Annotated[list[int] | None, typer.Option(min=100, help="Prefixes in the tree.")] = None,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """Making room for one more prefix: the tenants' tree beside SGLang's own."""
    try:
        result = measure_eviction(load_settings(), leaves or [1_000, 4_000, 16_000])
    except LoadError as error:
        fail(f"The run says nothing: {error}.")
        raise typer.Exit(2) from None
    columns = ("leaves", "stock_us", "stock_longest_us", "tenants_us", "tenants_longest_us")
    table = Table("leaves", "SGLang's RadixCache, us", "longest", "tenants' tree, us", "longest")
    for row in result["rows"]:
        table.add_row(*(str(row[name]) for name in columns))
    out.print(table)
    if save is not None:
        write(save, result)
