"""`bulkhead adapter rollout`: a new version for some conversations first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.progress import Progress
from rich.table import Table

from serving.cli import evaluate as evaluation
from serving.cli.client import call, operator_client, run_as_operator, tenant_client
from serving.cli.output import err, out
from serving.rollout.evaluation import Case, read_cases
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
    path = f"/v1/adapters/{name}/rollouts"
    begun = asyncio.run(_of_tenant(tenant, url, lambda own: call(own, "POST", path, json=body)))
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


@app.command()
def release(tenant: str, name: str, url: _Url = None) -> None:
    """After a rollout's end, let the name mean the newest version again."""
    path = f"/v1/adapters/{name}/rollouts/release"
    freed = asyncio.run(_of_tenant(tenant, url, lambda own: call(own, "POST", path)))
    out.print(f"{tenant}: {name} is free again; its last rollout {freed['state']}")


@app.command()
def evaluate(
    tenant: str,
    name: str,
    questions: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help='One JSON object a line: {"question", "facts", "never"}.',
        ),
    ],
    send: Annotated[
        bool, typer.Option(help="Tell the quality gate of a rollout that runs.")
    ] = True,
    url: _Url = None,
) -> None:
    """Ask the tenant's evaluation set of both versions, and give the quality gate the scores."""
    cases = read_cases(questions.read_text(encoding="utf-8"))
    asyncio.run(_evaluated(tenant, name, cases, send, url))


async def _evaluated(
    tenant: str, name: str, cases: list[Case], send: bool, url: str | None
) -> None:
    async with (
        operator_client(load_settings(), url, with_engine=True) as operator,
        tenant_client(operator, tenant) as own,
    ):
        with Progress(console=err, transient=True) as bar:
            task = bar.add_task("asking", total=2 * len(cases))
            found = await evaluation.evaluate(own, name, cases, lambda: bar.advance(task))
        table = Table("version", "questions", "mean score")
        for one in found:
            table.add_row(f"@{one.version}", str(len(one.scores)), f"{one.mean:.3f}")
            if send:
                await evaluation.send(own, name, one)
        out.print(table)


async def _of_tenant(
    tenant: str, url: str | None, work: Callable[[httpx.AsyncClient], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    async with (
        operator_client(load_settings(), url) as operator,
        tenant_client(operator, tenant) as own,
    ):
        return await work(own)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise typer.BadParameter("a JSON object.", param_hint="--gates") from None
