"""`bulkhead bench long-prefill`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from evals.performance.long_prefill import measure
from evals.report import write
from serving.cli.engine import Model, prepared, worker_of
from serving.cli.output import err, out
from serving.settings import load_settings


def long_prefill(
    model: Annotated[Model, typer.Option(help="tiny: two random layers.")] = Model.default,
    size: Annotated[
        list[int] | None, typer.Option(help="Chunks in tokens. 4096: the whole prompt at once.")
    ] = None,
    words: Annotated[
        int, typer.Option(min=10, help="Of the long prompt; each is four or five tokens.")
    ] = 700,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; medians are reported.")] = 2,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """How long a running answer waits for its next token while a long prompt arrives."""
    settings = load_settings()
    worker = worker_of(settings, prepared(settings, model))
    sizes = size or [128, 256, 704, 4096]
    with err.status("starting") as status:
        result = asyncio.run(measure(worker, sizes, rounds, words, status.update))
    names = (
        "chunked_prefill_size",
        "shared_chunk",
        "prefill_decode_interval",
        "gap_alone_ms",
        "longest_gap_ms",
        "prompt_seconds",
    )
    table = Table("chunk, tokens", "steps between", "gap alone, ms", "longest gap, ms", "prompt, s")
    for row in result["rows"]:
        table.add_row(*(str(row[name]) for name in names))
    out.print(table)
    if save is not None:
        write(save, {"model": model.value, **result})
