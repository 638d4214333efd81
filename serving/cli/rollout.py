"""`bulkhead adapter rollout`: a new version for some conversations first."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.table import Table

from serving.cli.client import call, operator_client, run_as_operator, tenant_client
from serving.cli.output import out
from serving.settings import load_settings

app = typer.Typer(help="A new version for some conversations first.", no_args_is_help=True)

_Url = Annotated[str | None, typer.Option(help="A gateway elsewhere.")]


@app.command()
def start(
    tenant: str,
    name: str,
    candidate: Annotated[int, typer.Argument(help="The version to try.")],
    percent: Annotated[float, typer.Option(help="Of the conversations.")] = 10.0,
    control: Annotated[int | None, typer.Option(help="Else what the name means now.")] = None,
    gates: Annotated[str, typer.Option(help="A JSON object, over the standard gates.")] = "{}",
    propose: Annotated[
        bool, typer.Option("--propose", help="Only hold the name at the control.")
    ] = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Compare its answers, and send none of them.")
    ] = False,
    url: _Url = None,
) -> None:
    """Send some conversations to a version; promote it or roll it back by its figures."""
    body = {"candidate": candidate, "percent": percent, "control": control, "shadow": shadow}
    body |= {"gates": _json(gates), "start": not propose}
    begun = asyncio.run(_begun(tenant, name, body, url))
    out.print(f"{tenant}: {name}@{begun['control']} -> @{begun['candidate']} {begun['state']}")


@app.command()
def status(
    tenant: Annotated[str | None, typer.Argument(help="Of this tenant only.")] = None,
    name: Annotated[str | None, typer.Argument(help="This adapter's newest, as JSON.")] = None,
    url: _Url = None,
) -> None:
    """All rollouts; of one adapter, with its figures and its audit trail."""
    if tenant is not None and name is not None:
        path = f"/admin/v1/rollouts/{tenant}/{name}"
        shown = run_as_operator(url, lambda client: call(client, "GET", path))
        out.print(json.dumps(shown, indent=2), markup=False)
        return
    answer = run_as_operator(url, lambda client: call(client, "GET", "/admin/v1/rollouts"))
    table = Table("tenant", "adapter", "control", "candidate", "percent", "state", "serving")
    for row in answer["data"]:
        if tenant in (None, row["tenant_id"]):
            cells = ("adapter", "control", "candidate", "percent", "state", "serving")
            table.add_row(row["tenant_id"], *(str(row[cell]) for cell in cells))
    out.print(table)


@app.command()
def stop(tenant: str, name: str, url: _Url = None) -> None:
    """End the open rollout; its conversations go back to the control."""
    path = f"/admin/v1/rollouts/{tenant}/{name}"
    stopped = run_as_operator(url, lambda client: call(client, "DELETE", path))
    out.print(f"{tenant}: {name} stopped; it means @{stopped['serving']}")


async def _begun(tenant: str, name: str, body: dict[str, Any], url: str | None) -> dict[str, Any]:
    async with (
        operator_client(load_settings(), url) as operator,
        tenant_client(operator, tenant) as own,
    ):
        return await call(own, "POST", f"/v1/adapters/{name}/rollouts", json=body)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise typer.BadParameter("a JSON object.", param_hint="--gates") from None
