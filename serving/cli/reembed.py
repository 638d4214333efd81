"""`bulkhead reembed MODEL`: all vectors anew, while the old ones answer."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import httpx
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from serving.cli.client import CallFailedError, call, operator_client
from serving.cli.output import err, out
from serving.settings import load_settings

_PATH = "/admin/v1/reembedding"


def command(
    model: Annotated[str, typer.Argument(help="An installed embedding model, as 'minilm'.")],
    url: Annotated[str | None, typer.Option(help="A gateway elsewhere.")] = None,
) -> None:
    """Make all vectors anew with another embedding model, and switch to them.

    Searches and writes go on meanwhile. Interrupted, it goes on where it was when it is started
    again. With the model of now, the vectors are copied, and the bytes of what was deleted are left
    behind. Set BULKHEAD_EMBEDDING to the new model before the next start.
    """
    done = asyncio.run(_reembed(model, url))
    out.print(f"re-embedded with {model}: {done['points']} points", markup=False)


async def _reembed(model: str, url: str | None) -> dict[str, Any]:
    async with operator_client(load_settings(), url) as client:
        await call(client, "POST", _PATH, json={"embedding": model})
        with _progress() as progress:
            bar = progress.add_task(model, total=None)
            while (state := await _state(client))["state"] == "running":
                progress.update(bar, completed=state["chunks"], total=state["total"] or None)
                await asyncio.sleep(0.3)
    if state["state"] != "done":
        raise CallFailedError(state.get("detail", "It was stopped."))
    return state


async def _state(client: httpx.AsyncClient) -> dict[str, Any]:
    return await call(client, "GET", _PATH)


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total} chunks"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err)
