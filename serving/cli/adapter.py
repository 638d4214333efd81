"""`bulkhead adapter`: the tenants' LoRA adapters."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from serving.cli import rollout, training
from serving.cli.adapter_upload import upload
from serving.cli.client import CallFailedError, call, run_as_operator
from serving.cli.output import out

app = typer.Typer(help="The tenants' LoRA adapters.", no_args_is_help=True)
app.add_typer(rollout.app, name="rollout")
app.command()(training.examples)
app.command()(training.train)

_Url = Annotated[str | None, typer.Option(help="A gateway elsewhere.")]
_Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION]")]


@app.command("list")
def list_adapters(
    tenant: Annotated[str | None, typer.Argument(help="Of this tenant only.")] = None,
    url: _Url = None,
) -> None:
    """All versions of all adapters."""
    table = Table("tenant", "adapter", "state", "rank", "bytes")
    for row in _all(url):
        if tenant in (None, row["tenant_id"]):
            size = sum(entry["bytes"] for entry in row["files"].values())
            table.add_row(row["tenant_id"], row["id"], row["state"], str(row["rank"]), f"{size:,}")
    out.print(table)


@app.command()
def add(
    tenant: str,
    name: str,
    folder: Annotated[Path, typer.Argument(help="What PEFT's save_pretrained() wrote.")],
    metrics: Annotated[str, typer.Option(help="A JSON object of numbers, kept with it.")] = "{}",
    url: _Url = None,
) -> None:
    """Check an adapter and store it as the newest version of its name."""
    added = asyncio.run(upload(tenant, name, folder, metrics, url))
    out.print(f"{tenant}: {added['id']} added (rank {added['rank']}, {added['dtype']})")


@app.command()
def show(tenant: str, reference: _Reference, url: _Url = None) -> None:
    """Everything that is known of an adapter's versions, as JSON."""
    found = [
        row
        for row in _all(url)
        if row["tenant_id"] == tenant and reference in (row["name"], row["id"])
    ]
    if not found:
        raise CallFailedError(f"{tenant} has no adapter {reference}.")
    out.print(json.dumps(found, indent=2), markup=False)


@app.command()
def revoke(tenant: str, reference: _Reference, url: _Url = None) -> None:
    """Take versions out of service, at once and for good; running answers end."""
    path, body = f"/admin/v1/adapters/{tenant}/{reference}", {"state": "revoked"}
    answer = run_as_operator(url, lambda client: call(client, "PATCH", path, json=body))
    out.print(f"{tenant}: {reference} revoked ({answer['versions']} versions)")


@app.command()
def delete(
    tenant: str,
    reference: _Reference,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: _Url = None,
) -> None:
    """Delete versions, for good."""
    if not yes:
        typer.confirm(f"Delete {reference} of {tenant} for good?", abort=True, err=True)
    path = f"/admin/v1/adapters/{tenant}/{reference}"
    answer = run_as_operator(url, lambda client: call(client, "DELETE", path))
    out.print(f"{tenant}: {reference} deleted ({answer['versions']} versions)")


def _all(url: str | None) -> list[dict[str, Any]]:
    answer = run_as_operator(url, lambda client: call(client, "GET", "/admin/v1/adapters"))
    rows: list[dict[str, Any]] = answer["data"]
    return rows
