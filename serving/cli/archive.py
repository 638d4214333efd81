"""`bulkhead tenant export` and `bulkhead tenant restore`."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from rag.archive import checked
from rag.errors import ArchiveError
from serving.cli.client import CallFailedError, call, operator_client, refusal
from serving.cli.output import out
from serving.cli.tenant import tenants
from serving.settings import load_settings

_Url = Annotated[str | None, typer.Option(help="A gateway elsewhere.")]
_PIECE = 1_000_000


@tenants.command("export")
def export(tenant: str, file: Path, url: _Url = None) -> None:
    """Write a tenant's documents with their vectors into one file, which only you may read.

    The file is there whole or not at all. It can be restored on any engine of the same model.
    """
    asyncio.run(_export(tenant, file, url))
    out.print(f"{tenant}: exported to {file}", markup=False, soft_wrap=True)


@tenants.command("restore")
def restore(
    tenant: str,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    archived_as: Annotated[
        str | None, typer.Option(help="Whose archive it is, if it is another tenant's.")
    ] = None,
    url: _Url = None,
) -> None:
    """Put the documents of an archive back; the tenant's other documents stay as they are.

    A damaged file, another tenant's and another model's are refused before anything is restored.
    """
    answer = asyncio.run(_restore(tenant, file, archived_as, url))
    counts = f"{answer['documents']} documents, {answer['chunks']} chunks"
    out.print(f"{tenant}: restored ({counts})", markup=False)


async def _export(tenant: str, file: Path, url: str | None) -> None:
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as target:
            async with operator_client(load_settings(), url) as client:
                await _download(client, f"/admin/v1/tenants/{tenant}/export", target)
            target.flush()
            os.fsync(target.fileno())
        _check_whole(part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _check_whole(part: Path) -> None:
    try:
        checked(part)
    except ArchiveError:
        raise CallFailedError("The export was cut short. Run it again.") from None


async def _download(client: httpx.AsyncClient, path: str, target: Any) -> None:
    try:
        async with client.stream("GET", path) as response:
            if response.is_error:
                await response.aread()
                raise CallFailedError(refusal(response))
            async for piece in response.aiter_raw():
                target.write(piece)
    except httpx.HTTPError:
        raise CallFailedError("The gateway does not answer. Is it still running?") from None


async def _restore(
    tenant: str, file: Path, archived_as: str | None, url: str | None
) -> dict[str, Any]:
    path = f"/admin/v1/tenants/{tenant}/restore"
    params = {"archived_as": archived_as} if archived_as else {}
    async with operator_client(load_settings(), url) as client:
        return await call(client, "POST", path, params=params, content=_pieces(file))


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as source:
        while piece := await asyncio.to_thread(source.read, _PIECE):
            yield piece
