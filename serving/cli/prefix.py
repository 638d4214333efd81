"""`bulkhead engine prefix`: what the operator shares with all tenants in the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from serving.cli.client import call, run_as_operator
from serving.cli.output import note, out

app = typer.Typer(
    help="Beginnings of chats, computed once for all tenants. Nothing is shared unless you say so.",
    no_args_is_help=True,
)

_PATH = "/admin/v1/public-prefixes"
_Url = Annotated[str | None, typer.Option(help="A gateway elsewhere.")]
_File = typer.Option(exists=True, dir_okay=False)


@app.command()
def publish(
    name: str,
    system: Annotated[Path | None, _File] = None,
    tools: Annotated[Path | None, _File] = None,
    url: _Url = None,
) -> None:
    """Share the beginning of chats: of all, or of those that send a system turn and offer tools.

    --system: a file with the text, as callers send it. --tools: a JSON file with their list of
    tools. All tenants find it computed, and may know it: put nothing of a tenant into it.
    """
    body = {
        "system": "" if system is None else _text(system, "--system"),
        "tools": [] if tools is None else _list(tools),
    }
    done = run_as_operator(url, lambda own: call(own, "PUT", f"{_PATH}/{name}", json=body))
    if done["state"] == "published":
        out.print(f"{name}: public, {done['tokens']} tokens", markup=False)
    else:
        out.print(f"{name}: kept; it is published when an engine is ready", markup=False)


@app.command("list")
def list_command(url: _Url = None) -> None:
    """What is shared, and whether the engine has it."""
    answer = run_as_operator(url, lambda own: call(own, "GET", _PATH))
    table = Table("name", "state", "digest")
    for row in answer["data"]:
        table.add_row(row["name"], row["state"], row["digest"][:16])
    out.print(table)
    for row in answer["data"]:
        if reason := row.get("reason"):
            note(f"{row['name']}: {reason}")
    if (engine := answer["engine"]) is not None:
        note(f"{engine['tokens']} tokens are public in the engine; room for {engine['room']} more")


@app.command()
def show(name: str, url: _Url = None) -> None:
    """One of them, with the audit trail of its name, as JSON."""
    shown = run_as_operator(url, lambda own: call(own, "GET", f"{_PATH}/{name}"))
    out.print(json.dumps(shown, indent=2, ensure_ascii=False), markup=False)


@app.command()
def withdraw(
    name: str,
    now: Annotated[
        bool,
        typer.Option("--now", help="Flush the engine: everybody's prefixes are computed anew."),
    ] = False,
    url: _Url = None,
) -> None:
    """Share it no more. Tenants' prefixes stand on it: it leaves the engine at its next flush or
    start."""
    parameters = {"now": now}
    run_as_operator(url, lambda own: call(own, "DELETE", f"{_PATH}/{name}", params=parameters))
    out.print(f"{name}: withdrawn", markup=False)


def _text(file: Path, option: str) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\n")
    except UnicodeDecodeError:
        raise typer.BadParameter("no UTF-8 text.", param_hint=option) from None


def _list(file: Path) -> list[Any]:
    try:
        tools = json.loads(_text(file, "--tools"))
    except json.JSONDecodeError:
        tools = None
    if not isinstance(tools, list):
        raise typer.BadParameter("a JSON list of tools.", param_hint="--tools")
    return tools
