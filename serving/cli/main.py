"""The `bulkhead` command: its sub-commands come from the entry-point group `bulkhead.commands`.

So that `evals` can add `verify`, `bench` and `eval` without being imported by what it measures.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import typer

from isolation.errors import BulkheadError
from serving.cli.output import fail

_GROUP = "bulkhead.commands"


def build() -> typer.Typer:
    """The command with all sub-commands that are installed."""
    app = typer.Typer(
        name="bulkhead",
        help="Tenant-isolated RAG on shared LLM infrastructure.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for point in sorted(entry_points(group=_GROUP), key=lambda point: point.name):
        command = point.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=point.name)
        else:
            app.command(point.name)(command)
    return app


def main() -> None:
    """Run; an expected failure is one line on standard error and exit status 1."""
    try:
        build()()
    except BulkheadError as error:
        fail(error.message)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
