"""`bulkhead export TENANT DIR`: a tenant's documents as files."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path
from typing import IO, Annotated, Any
from urllib.parse import quote

import httpx
import typer

from serving.cli.client import CallFailedError, operator_client, refusal, tenant_client
from serving.cli.output import err, out
from serving.settings import load_settings

_LONGEST = 150


def command(
    tenant: str,
    folder: Annotated[Path, typer.Argument(help="A folder, made if it is not there.")],
    url: Annotated[str | None, typer.Option(help="A gateway elsewhere.")] = None,
) -> None:
    """Write each document of a tenant as a Markdown file, and `documents.jsonl` with what else is
    known of them. For the owner alone (mode 0600)."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(folder.iterdir()):
        raise CallFailedError(f"{folder} is not empty. Name a new folder.")
    count = asyncio.run(_export(tenant, folder, url))
    out.print(f"{tenant}: {count} documents in {folder}", markup=False)


async def _export(tenant: str, folder: Path, url: str | None) -> int:
    async with (
        operator_client(load_settings(), url) as operator,
        tenant_client(operator, tenant) as own,
        own.stream("GET", "/v1/export") as response,
    ):
        if response.is_error:
            await response.aread()
            raise CallFailedError(refusal(response))
        with err.status("exporting"):
            return await _written(response, folder)


async def _written(response: httpx.Response, folder: Path) -> int:
    text: IO[str] | None = None
    with _private(folder / "documents.jsonl") as index:
        try:
            async for line in response.aiter_lines():
                record: dict[str, Any] = json.loads(line)
                kind = record.pop("type")
                if kind == "end":
                    return int(record["documents"])
                if kind == "text":
                    assert text is not None
                    text.write(record["text"])
                    continue
                if text is not None:
                    text.close()
                name = _file_name(record["id"])
                index.write(json.dumps({**record, "file": name}, ensure_ascii=False) + "\n")
                text = _private(folder / name)
        finally:
            if text is not None:
                text.close()
    raise CallFailedError("The export was cut short. Remove the folder and run it again.")


def _private(path: Path) -> IO[str]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="")


def _file_name(document_id: str) -> str:
    """A name for any id: it cannot leave the folder, and no two ids share it."""
    name = quote(document_id, safe=" ")
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.sha256(document_id.encode()).hexdigest()[:16]}"
    return f"{name}.md"
