"""`bulkhead engine dead-letters` and `bulkhead engine release`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from serving.cli.client import call, run_as_operator
from serving.cli.output import out

_PATH = "/admin/v1/dead-letters"
_Url = Annotated[str | None, typer.Option(help="A gateway elsewhere.")]


def dead_letters(url: _Url = None) -> None:
    """Requests that are not tried any more, because engines died of them."""
    answer = run_as_operator(url, lambda own: call(own, "GET", _PATH))
    table = Table("id", "tenant", "model", "crashes", "last")
    for row in answer["data"]:
        last = row["last_at"].partition(".")[0]
        table.add_row(row["id"], row["tenant_id"], row["model"], str(row["crashes"]), last)
    out.print(table)


def release(dead_letter: str, url: _Url = None) -> None:
    """Let a dead letter's request be tried again, as if nothing had been."""
    run_as_operator(url, lambda own: call(own, "DELETE", f"{_PATH}/{dead_letter}"))
    out.print(f"{dead_letter}: released", markup=False)
