"""`bulkhead verify`: the isolation suite against any deployment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.table import Table

from evals.adapter_files import Files, read_files
from evals.contract.checks import Checks, Verdict
from evals.contract.suite import EXIT_STATUS, PROBES, as_json, run, verdict
from evals.contract.target import Account, MemberAccount, reached
from evals.report import write
from serving.cli.output import err, out

_COLOURS = {
    Verdict.held: "green",
    Verdict.leak: "bold red",
    Verdict.unjudged: "yellow",
    Verdict.skipped: "dim",
}


def command(
    target: Annotated[str, typer.Option(help="The deployment's URL.")],
    tenant: Annotated[
        list[str], typer.Option(help="NAME=@FILE, twice: two tenants, each with its key's file.")
    ],
    member: Annotated[
        list[str] | None,
        typer.Option(
            help="TENANT:GROUP=@FILE: a key of one of the two that is restricted to a group "
            "('bulkhead key issue TENANT --group GROUP'). Without one, groups are not judged."
        ),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(
            help="A folder with an adapter that fits the deployment's base model, where the "
            "deployment does not say itself what fits."
        ),
    ] = None,
    save: Annotated[Path | None, typer.Option("--json", help="Write the result as JSON.")] = None,
) -> None:
    """Attack a deployment's tenant boundaries from outside, as two of its tenants.

    Plants documents in both tenants and removes them again; use tenants that are quiet meanwhile.
    Exit status: 0 all boundaries held, 1 a leak, 2 something could not be judged.
    """
    if urlsplit(target).scheme not in ("http", "https"):
        raise typer.BadParameter("a URL is expected, as http://127.0.0.1:8080.")
    accounts = [_account(given) for given in tenant]
    if len({account.name for account in accounts}) != 2 or len(accounts) != 2:
        raise typer.BadParameter("--tenant NAME=@FILE is needed twice, with two names.")
    if accounts[0].key == accounts[1].key:
        raise typer.BadParameter("both tenants have the same key: nothing would be judged.")
    names = {account.name for account in accounts}
    members = [_member(given, names) for given in member or []]
    files = None if adapter is None else _adapter(adapter)
    results = asyncio.run(_run(target, (accounts[0], accounts[1]), members, files))
    _show(results)
    if save is not None:
        write(save, as_json(target, results))
    raise typer.Exit(EXIT_STATUS[verdict(results)])


def _account(given: str) -> Account:
    name, _, file = given.partition("=")
    if not name or not file.startswith("@"):
        raise typer.BadParameter("--tenant is NAME=@FILE, and the key stands in the file.")
    return Account(name, _key(name, file))


def _member(given: str, tenants: set[str]) -> MemberAccount:
    name, _, file = given.partition("=")
    tenant, _, group = name.partition(":")
    if not group or not file.startswith("@"):
        raise typer.BadParameter("--member is TENANT:GROUP=@FILE, and the key stands in the file.")
    if tenant not in tenants:
        raise typer.BadParameter(f"--member {name}: {tenant} is none of the two tenants.")
    return MemberAccount(tenant, group, _key(name, file))


def _key(name: str, file: str) -> str:
    # From a file: an argument can be read by every process of the machine.
    try:
        key = Path(file[1:]).read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter(f"the key file of {name} cannot be read.") from None
    if not key.isascii() or len(key.split()) != 1:
        raise typer.BadParameter(f"the key file of {name} does not hold one key.")
    return key


def _adapter(folder: Path) -> Files:
    try:
        return read_files(folder)
    except OSError:
        raise typer.BadParameter("--adapter is a folder with the two files of PEFT.") from None


async def _run(
    target: str,
    accounts: tuple[Account, Account],
    members: list[MemberAccount],
    adapter: Files | None,
) -> dict[str, Checks]:
    async with reached(target, *accounts, members=members, adapter=adapter) as pair:
        with err.status("probing") as status:
            return await run(pair, lambda name: status.update(f"probing: {name}"))


def _show(results: dict[str, Checks]) -> None:
    table = Table("probe", "verdict", "controls", "boundaries")
    for name in PROBES:
        checks = results[name]
        colour = _COLOURS[checks.verdict]
        counts = (str(checks.controls), str(checks.boundaries))
        table.add_row(name, f"[{colour}]{checks.verdict}[/]", *counts)
    out.print(table)
    for name, checks in results.items():
        if checks.skipped is not None:
            out.print(f"skipped: {name}: {checks.skipped}", markup=False)
        for finding in checks.findings:
            label = "LEAK" if finding.kind is Verdict.leak else "not judged"
            details = "; ".join(filter(None, (finding.seen, finding.request)))
            out.print(f"{label}: {name}: {finding.what} (seen: {details})", markup=False)
