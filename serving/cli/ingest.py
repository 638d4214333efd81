"""`bulkhead ingest TENANT PATH...`: files and folders into a tenant's knowledge base."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

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

from rag.reading.kinds import KINDS
from rag.reading.source import SourceFile
from serving.cli.client import CallFailedError, call, operator_client, refusal, tenant_client
from serving.cli.output import err, fail, out
from serving.settings import load_settings

_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class _Asked:
    """What holds for all files of one command."""

    groups: list[str]
    encoding: str | None

    def fields(self, document_id: str) -> dict[str, str | list[str]]:
        """The form's fields beside the file."""
        encoding = {"encoding": self.encoding} if self.encoding else {}
        return {"id": document_id, "groups": self.groups, **encoding}


def command(
    tenant: str,
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders with all in them.")],
    group: Annotated[
        list[str] | None,
        typer.Option(help="Only keys of this group see them; may be given several times."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of files that are not in Unicode, as cp1252.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="A gateway elsewhere.")] = None,
) -> None:
    """Ingest documents. What is there already and unchanged is left as it is, and not sent again:
    interrupted, it goes on when it is run again.

    A document's id is its path below the folder that was named. Files that cannot be read are
    named, the others ingested; then the exit status is 1.
    """
    found = [entry for path in paths for entry in files_below(path)]
    failed = asyncio.run(_ingest(tenant, found, _Asked(group or [], encoding), url))
    raise typer.Exit(1 if failed else 0)


def files_below(path: Path) -> list[tuple[Path, str]]:
    """The files of known kinds at or below `path`, each with its document id."""
    if not path.is_dir():
        return [(path, path.name)]
    names = (Path(folder, name) for folder, _, files in os.walk(path) for name in files)
    files = sorted(file for file in names if file.suffix.lower() in KINDS)
    return [(file, file.relative_to(path).as_posix()) for file in files]


async def _ingest(
    tenant: str, files: list[tuple[Path, str]], asked: _Asked, url: str | None
) -> int:
    outcomes: Counter[str] = Counter()
    async with (
        operator_client(load_settings(), url) as operator,
        tenant_client(operator, tenant) as own,
    ):
        there = await _there(own)
        with _progress() as progress:
            bar = progress.add_task(tenant, total=len(files))
            queue = iter(files)

            async def sender() -> None:
                for path, document_id in queue:
                    file = SourceFile(path, path.name, asked.encoding)
                    outcomes[await _one(own, file, document_id, asked, there)] += 1
                    progress.advance(bar)

            # While one is embedded, the next ones are parsed; more would only wait.
            await asyncio.gather(*(sender() for _ in range(_AT_ONCE)))
        count = len(await _there(own))
    done = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    out.print(f"{tenant}: {done or 'no files'}; {count} documents now", markup=False)
    return outcomes["failed"]


async def _there(client: httpx.AsyncClient) -> dict[str, tuple[str | None, list[str]]]:
    """The digest and the groups of each document: what is unchanged is not even sent."""
    there: dict[str, tuple[str | None, list[str]]] = {}
    path = "/v1/documents"
    while True:
        page = await call(client, "GET", path)
        there |= {one["id"]: (one.get("source"), one.get("groups", [])) for one in page["data"]}
        if not page.get("has_more"):
            return there
        path = f"/v1/documents?after={quote(page['data'][-1]['id'], safe='')}"


async def _one(
    client: httpx.AsyncClient,
    file: SourceFile,
    document_id: str,
    asked: _Asked,
    there: dict[str, tuple[str | None, list[str]]],
) -> str:
    try:
        digest = await asyncio.to_thread(file.digest)
        if there.get(document_id) == (digest, sorted(set(asked.groups))):
            return "unchanged"
        with file.path.open("rb") as content:
            upload = {"file": (file.name, content)}
            response = await client.post(
                "/v1/documents", files=upload, data=asked.fields(document_id)
            )
    except OSError as error:
        fail(f"{file.path}: {error.strerror}")
        return "failed"
    except httpx.HTTPError:
        raise CallFailedError("The gateway does not answer. Run it again: it goes on.") from None
    if response.is_error:
        fail(f"{file.path}: {refusal(response)}")
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
