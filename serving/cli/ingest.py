"""`bulkhead ingest TENANT PATH...`: files and folders into a tenant's knowledge base."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from rag.reading.reader import KINDS
from serving.cli.client import call, operator_client, refusal, tenant_client
from serving.cli.output import err, fail, out
from serving.settings import load_settings


def command(
    tenant: str,
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders with all in them.")],
    group: Annotated[
        list[str] | None,
        typer.Option(help="Only keys of this group see them; may be given several times."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="A gateway elsewhere.")] = None,
) -> None:
    """Ingest documents. What is there already and unchanged is left as it is.

    A document's id is its path below the folder that was named. Files that cannot be read are
    named, the others ingested; then the exit status is 1.
    """
    found = [entry for path in paths for entry in files_below(path)]
    failed = asyncio.run(_ingest(tenant, found, group or [], url))
    raise typer.Exit(1 if failed else 0)


def files_below(path: Path) -> list[tuple[Path, str]]:
    """The files of known kinds at or below `path`, each with its document id."""
    if not path.is_dir():
        return [(path, path.name)]
    names = (Path(folder, name) for folder, _, files in os.walk(path) for name in files)
    files = sorted(file for file in names if file.suffix.lower() in KINDS)
    return [(file, file.relative_to(path).as_posix()) for file in files]


async def _ingest(
    tenant: str, files: list[tuple[Path, str]], groups: list[str], url: str | None
) -> int:
    outcomes: Counter[str] = Counter()
    async with (
        operator_client(load_settings(), url) as operator,
        tenant_client(operator, tenant) as own,
    ):
        with _progress() as progress:
            bar = progress.add_task(tenant, total=len(files))
            for file, document_id in files:
                outcomes[await _one(own, file, document_id, groups)] += 1
                progress.advance(bar)
        count = len((await call(own, "GET", "/v1/documents"))["data"])
    done = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    out.print(f"{tenant}: {done or 'no files'}; {count} documents now", markup=False)
    return outcomes["failed"]


async def _one(client: httpx.AsyncClient, file: Path, document_id: str, groups: list[str]) -> str:
    try:
        content = await asyncio.to_thread(file.read_bytes)
    except OSError as error:
        fail(f"{file}: {error.strerror}")
        return "failed"
    upload = {"file": (file.name, content)}
    fields = {"id": document_id, "groups": groups}
    response = await client.post("/v1/documents", files=upload, data=fields)
    if response.is_error:
        fail(f"{file}: {refusal(response)}")
        return "failed"
    status: str = response.json()["status"]
    return status


class _Rate(ProgressColumn):
    """Documents a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err)
