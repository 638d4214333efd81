"""`bulkhead tenant`, `bulkhead key` and `bulkhead usage`."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from serving.cli.client import call, run_as_operator
from serving.cli.output import err, out

tenants = typer.Typer(help="The tenants of the platform.", no_args_is_help=True)
keys = typer.Typer(help="The tenants' API keys.", no_args_is_help=True)

_Url = Annotated[str | None, typer.Option(help="A gateway elsewhere.")]
_Limit = Annotated[str | None, typer.Option(help="A number, or 'none'.", metavar="N")]


@tenants.command("add")
def add(tenant: str, tier: str = "starter", url: _Url = None) -> None:
    """Add a tenant."""
    body = {"id": tenant, "tier": tier}
    run_as_operator(url, lambda client: call(client, "POST", "/admin/v1/tenants", json=body))
    out.print(f"{tenant}: added ({tier}). Issue a key with 'bulkhead key issue {tenant}'.")


@tenants.command("list")
def list_tenants(url: _Url = None) -> None:
    """All tenants."""
    answer = run_as_operator(url, lambda client: call(client, "GET", "/admin/v1/tenants"))
    table = Table("tenant", "tier", "state", "chunks", "shard")
    for tenant in answer["data"]:
        shard = "shared, large" if _may_be_promoted(tenant) else tenant["placement"]
        table.add_row(tenant["id"], tenant["tier"], tenant["state"], f"{tenant['chunks']:,}", shard)
    out.print(table)


def _may_be_promoted(tenant: dict[str, Any]) -> bool:
    return bool(tenant["large"]) and tenant["placement"] == "shared"


@tenants.command("promote")
def promote(tenant: str, url: _Url = None) -> None:
    """Give a large tenant a shard of its own on a Qdrant cluster, while it is served.

    It may be repeated after any failure, and goes on where it stopped.
    """
    path = f"/admin/v1/tenants/{tenant}/promote"
    answer = run_as_operator(url, lambda client: call(client, "POST", path))
    out.print(f"{tenant}: on a shard of its own ({answer['chunks']:,} chunks)", markup=False)


@tenants.command("suspend")
def suspend(tenant: str, url: _Url = None) -> None:
    """Refuse a tenant's requests from now on; its data stays."""
    _change(tenant, "suspended", url)


@tenants.command("resume")
def resume(tenant: str, url: _Url = None) -> None:
    """Take a suspended tenant back into service."""
    _change(tenant, "active", url)


@tenants.command("limit")
def limit(
    tenant: str,
    requests_per_minute: _Limit = None,
    tokens_per_minute: _Limit = None,
    tokens_per_month: _Limit = None,
    reset: Annotated[bool, typer.Option("--reset", help="Back to its tier's.")] = False,
    url: _Url = None,
) -> None:
    """Give a tenant limits of its own; those not named stay as they are."""
    given = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "tokens_per_month": tokens_per_month,
    }
    limits = {name: _number(text) for name, text in given.items() if text is not None}
    if reset == bool(limits):
        raise typer.BadParameter("name at least one limit, or --reset and none")
    body = {"limits": None if reset else limits}
    path = f"/admin/v1/tenants/{tenant}"
    answer = run_as_operator(url, lambda client: call(client, "PATCH", path, json=body))
    for name, value in answer["limits"].items():
        shown = "none" if value is None else f"{value:,}"
        out.print(f"{tenant}: {name.replace('_', ' ')}: {shown}", markup=False)


def _number(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter("a limit is a number of at least 1, or 'none'")
    return int(text)


@tenants.command("delete")
def delete(
    tenant: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: _Url = None,
) -> None:
    """Delete a tenant, its documents and its keys, for good. What it used stays on the bill."""
    if not yes:
        typer.confirm(f"Delete {tenant} and all its documents for good?", abort=True, err=True)
    path = f"/admin/v1/tenants/{tenant}"
    answer = run_as_operator(url, lambda client: call(client, "DELETE", path))
    counts = f"{answer['documents']} documents, {answer['keys']} keys"
    out.print(f"{tenant}: deleted ({counts})", markup=False)


@keys.command("issue")
def issue(
    tenant: str,
    expires_in_seconds: int | None = None,
    group: Annotated[
        list[str] | None,
        typer.Option(help="Restrict it to documents of this group; may be given several times."),
    ] = None,
    url: _Url = None,
) -> None:
    """Issue a key. It is printed once, to standard output, and kept nowhere.

    A key with groups reads documents of these groups and of none, and writes no documents.
    """
    body = {"tenant_id": tenant, "expires_in_seconds": expires_in_seconds, "groups": group or None}
    answer = run_as_operator(url, lambda client: call(client, "POST", "/admin/v1/keys", json=body))
    err.print(f"key {answer['id']} of {tenant}, shown this once:", style="dim")
    out.print(answer["api_key"], markup=False)


@keys.command("revoke")
def revoke(key_id: str, url: _Url = None) -> None:
    """Revoke a key by its id: the part between the underscores."""
    run_as_operator(url, lambda client: call(client, "DELETE", f"/admin/v1/keys/{key_id}"))
    out.print(f"{key_id}: revoked")


def usage(url: _Url = None) -> None:
    """What each tenant used in this calendar month, and how much of its month's tokens that is."""
    answer = run_as_operator(url, _usage_and_tenants)
    months = {tenant["id"]: tenant["limits"]["tokens_per_month"] for tenant in answer["tenants"]}
    columns = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens")
    table = Table("tenant", *columns, "of its month")
    for row in answer["usage"]:
        numbers = (f"{row[column]:,}" for column in columns)
        table.add_row(row["tenant_id"], *numbers, _share(row, months.get(row["tenant_id"])))
    out.print(table)


async def _usage_and_tenants(client: httpx.AsyncClient) -> dict[str, Any]:
    usage = await call(client, "GET", "/admin/v1/usage")
    tenants = await call(client, "GET", "/admin/v1/tenants")
    return {"usage": usage["data"], "tenants": tenants["data"]}


def _share(row: dict[str, Any], month: int | None) -> str:
    """Empty: it has no limit, or is deleted."""
    if month is None:
        return ""
    return f"{(row['prompt_tokens'] + row['completion_tokens']) / month:.1%}"


def _change(tenant: str, state: str, url: str | None) -> None:
    path = f"/admin/v1/tenants/{tenant}"
    run_as_operator(url, lambda client: call(client, "PATCH", path, json={"state": state}))
    out.print(f"{tenant}: {state}")
